# SPDX-License-Identifier: Apache-2.0
"""The reference page and the JSON Schema say what the model says."""

import json
import typing
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

from testbed.cli.main import testbed as root_command
from testbed.spec.model import ExperimentSpec
from testbed.spec.reference import reference_page
from testbed.spec.ride import RideSpec

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "tests" / "data" / "specs"
EXPERIMENTS = [*sorted((ROOT / "experiments").glob("*.yaml")), SPECS / "valid.yaml"]


def models(model=ExperimentSpec, seen=None):
    """Return every section that an experiment file may have."""
    seen = {} if seen is None else seen
    if model not in seen:
        seen[model] = None
        for field in model.model_fields.values():
            for inner in inner_models(field.annotation):
                models(inner, seen)
    return list(seen)


def inner_models(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from inner_models(argument)


def keys(model):
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.fixture(scope="module")
def printed():
    done = CliRunner().invoke(root_command, ["schema"])
    assert done.exit_code == 0
    return json.loads(done.output)


@pytest.fixture(scope="module")
def page():
    return reference_page()


def test_page_of_the_documentation_is_what_the_command_prints():
    """Else: testbed schema --markdown > docs/experiment-file.md"""
    done = CliRunner().invoke(root_command, ["schema", "--markdown"])
    assert done.output == (ROOT / "docs" / "experiment-file.md").read_text()


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_page_has_every_key_with_its_meaning(page, model):
    section = " ".join(model.__doc__.split())
    assert section in page
    table = page.split(section)[1].split("\n## ")[0]
    for key, field in zip(keys(model), model.model_fields.values(), strict=True):
        row = next(line for line in table.splitlines() if line.startswith(f"| `{key}` |"))
        assert (field.description or "") in row
        assert ("| required |" in row) is field.is_required()


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_key_but_a_tag_has_a_description(model):
    tags = {"change", "name"} if model is not ExperimentSpec else set()
    for key, field in zip(keys(model), model.model_fields.values(), strict=True):
        if key not in tags or typing.get_origin(field.annotation) is not typing.Literal:
            assert field.description, f"{model.__name__}.{key}"


def test_page_has_a_section_per_kind_of_event_and_workload(page):
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert len({*headings}) == len(headings) == len(models())
    assert "## `workload`: `bulk`" in headings
    assert "## `events`: `endpoint_backup`" in headings


@pytest.mark.parametrize(
    ("key", "default"),
    [("dwell", "20 s .. 40 s"), ("fades", "1 .. 3"), ("detection", "0.5 s"), ("stations", "6")],
)
def test_defaults_are_written_as_one_would_write_them(page, key, default):
    row = next(line for line in page.splitlines() if line.startswith(f"| `{key}` |"))
    assert f"| `{default}` |" in row
    written = int(default) if default.isdigit() else default
    assert getattr(RideSpec.model_validate({key: written}), key) == getattr(RideSpec(), key)


def test_schema_knows_every_key(printed):
    defined = [printed, *printed["$defs"].values()]
    for model in models():
        found = [one for one in defined if one.get("title") == model.__name__]
        assert [list(one["properties"]) for one in found] == [keys(model)]
        assert found[0]["additionalProperties"] is False


def test_references_of_the_schema_lead_somewhere(printed):
    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for key, inner in node.items():
                if key == "mapping":  # of a discriminator
                    yield from inner.values()
                yield from references(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from references(inner)

    found = set(references(printed))
    assert found
    assert {one.removeprefix("#/$defs/") for one in found} <= set(printed["$defs"])


# A small reading of JSON Schema, for the words that pydantic writes.
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def fits(node, data, root):
    if "$ref" in node:
        return fits(root["$defs"][node["$ref"].removeprefix("#/$defs/")], data, root)
    for word, some in (("anyOf", any), ("oneOf", lambda found: sum(found) == 1)):
        if word in node and not some([fits(one, data, root) for one in node[word]]):
            return False
    if "const" in node and data != node["const"]:
        return False
    if "enum" in node and data not in node["enum"]:
        return False
    kinds = node.get("type", [])
    wanted = [TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    if wanted and not any(isinstance(data, kind) for kind in wanted):
        return False
    if isinstance(data, bool) and wanted and bool not in wanted:
        return False
    if isinstance(data, dict):
        return _fits_object(node, data, root)
    if isinstance(data, list):
        return all(fits(node.get("items", {}), one, root) for one in data)
    return True


def _fits_object(node, data, root):
    properties, others = node.get("properties", {}), node.get("additionalProperties", True)
    if not set(node.get("required", [])) <= set(data):
        return False
    for key, value in data.items():
        if key in properties:
            if not fits(properties[key], value, root):
                return False
        elif others is False or (others is not True and not fits(others, value, root)):
            return False
    return True


def conforms(printed, data):
    try:
        import jsonschema
    except ModuleNotFoundError:
        return fits(printed, data, printed)
    return jsonschema.Draft202012Validator(printed).is_valid(data)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_experiments_conform_to_the_schema(printed, path):
    assert conforms(printed, yaml.safe_load(path.read_text()))


WRONG = [
    "empty_section",
    "event_key_of_another_change",
    "event_near_miss",
    "event_without_change",
    "matrix_no_list",
    "missing_key",
    "section_that_is_no_mapping",
    "unknown_key",
    "unknown_nested_key",
    "unknown_schema",
    "unknown_workload",
    "workload_near_miss",
]


@pytest.mark.parametrize("fault", WRONG)
def test_schema_refuses_what_has_another_shape(printed, fault):
    data = yaml.safe_load((SPECS / "invalid" / f"{fault}.yaml").read_text())
    assert not conforms(printed, data)


def test_sections_of_a_ride_file_are_those_of_the_experiment():
    (ride,) = inner_models(ExperimentSpec.model_fields["ride"].annotation)
    assert ride is RideSpec
