# SPDX-License-Identifier: Apache-2.0
"""Loads an experiment file: every problem at once, each with its line and, if there is one, the
key that was probably meant."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from testbed.errors import SpecError
from testbed.spec.document import Document, read_document, read_text
from testbed.spec.matrix import Matrix, place_value, value_text
from testbed.spec.model import ExperimentSpec
from testbed.spec.places import Place, is_below, near_miss, plain_place, value_at

# What pydantic calls a value that should be a mapping.
SECTION_WANTED = ("model_type", "dict_type", "model_attributes_type")


@dataclass(frozen=True)
class Cell:
    """One combination of the varied values.

    Attributes:
        varied: the values as texts, by dotted key.
        spec: the experiment with these values.
    """

    varied: dict[str, str]
    spec: ExperimentSpec


@dataclass(frozen=True)
class Experiment:
    """An experiment file.

    Attributes:
        spec: the experiment with the values of its first cell.
        cells: one per combination of the matrix; a single one without a matrix.
        data: the file as plain data, with what the command line replaced.
        folder: that relative file names start from.
    """

    spec: ExperimentSpec
    cells: list[Cell]
    data: dict[str, Any] = field(repr=False)
    folder: Path = Path()


def load_experiment(path: Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Return the experiment in a file.

    Args:
        path: the file.
        overrides: values that replace those of the file, by dotted key; one that the matrix
            varies is varied no more.

    Raises:
        SpecError: the file cannot be read or is wrong.
    """
    text = read_text(path, "experiment")
    return parse_experiment(text, str(path), overrides or {}, path.parent)


def load_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> ExperimentSpec:
    """Return the experiment in a file, with the values of its first cell."""
    return load_experiment(path, overrides).spec


def parse_spec(text: str, name: str, overrides: Mapping[str, Any]) -> ExperimentSpec:
    """Return the experiment in a text, with the values of its first cell."""
    return parse_experiment(text, name, overrides).spec


def parse_experiment(
    text: str, name: str, overrides: Mapping[str, Any], folder: Path = Path()
) -> Experiment:
    """Return the experiment in a text; name is what messages call it."""
    document = read_document(text, name, "experiment")
    for key, value in overrides.items():
        place_value(document.data, key, value)
    matrix = Matrix.of(document.data, overrides)
    for key in matrix.replaced:
        del document.data["matrix"][key]
    found = set(document.problems) | {
        (document.line(("matrix", key)), what) for key, what in matrix.problems
    }
    within = {
        key: value
        for key, value in overrides.items()
        if any(is_below(key, one) for one in matrix.varied)
    }
    cells = []
    for values in matrix.cells():
        data = matrix.apply(document.data, {**values, **within})
        try:
            spec = ExperimentSpec.model_validate(data)
        except ValidationError as error:
            found |= set(_problems(error, data, document, {*matrix.varied}, {*overrides}))
        else:
            varied = {key: value_text(value) for key, value in values.items()}
            cells.append(Cell(varied, spec))
    if not found and not cells:
        found = {(1, "a key within a value is not a text to YAML; put quotes around it")}
    if found:
        raise SpecError("\n".join(document.sentence(*problem) for problem in sorted(found)))
    return Experiment(cells[0].spec, cells, document.data, folder)


def validate_section(model: type[BaseModel], document: Document) -> Any:
    """Return a section that has a file of its own, such as a ride.

    Raises:
        SpecError: the file is wrong.
    """
    found, section = set(document.problems), None
    try:
        section = model.model_validate(document.data)
    except ValidationError as error:
        found |= set(_problems(error, document.data, document, set(), set(), model))
    if found:
        raise SpecError("\n".join(document.sentence(*problem) for problem in sorted(found)))
    return section


def _problems(
    error: ValidationError,
    data: Any,
    document: Document,
    varied: set[str],
    overridden: set[str],
    model: type[BaseModel] = ExperimentSpec,
) -> Iterator[tuple[int, str]]:
    """Yield line and sentence of everything that pydantic found."""
    for item in _said_once(error):
        place = plain_place(item["loc"], data, is_missing=item["type"] == "missing")
        if item["type"] == "string_type" and isinstance(value_at(data, place), dict):
            continue  # it may be a text or a mapping, and what is wrong with the mapping is said
        if item["type"] == "union_tag_invalid":
            place = (*place, _tag_name(item))
        reason = _reason(item, place, model, data)
        what = f"{'.'.join(place)}: {reason}" if place else reason
        place = place or _named_place(reason, document)
        if cause := _cause(place, overridden, document):
            yield 0, f"{what} (as given on the command line: {cause})"
        elif cause := _cause(place, varied, document):
            yield document.line(("matrix", cause)), f"matrix: {what}"
        else:
            yield document.line(place), what


def _said_once(error: ValidationError) -> Iterator[Any]:
    """Yield what pydantic found, without what is said by something else already."""
    items = error.errors()
    no_texts = {item["loc"][:-1] for item in items if item["type"] == "string_type"}
    for item in items:
        if item["type"] == "invalid_key" or item["loc"][-1:] == ("[key]",):
            continue  # the document has named the keys that are no texts, by their lines
        if item["type"] not in SECTION_WANTED or item["loc"][:-1] not in no_texts:
            yield item


def _named_place(reason: str, document: Document) -> Place:
    """Return the place with which the reason of a whole file begins, if it is one."""
    place = tuple(reason.split()[0].split("."))
    return place if place in document.lines else ()


def _cause(place: Place, keys: set[str], document: Document) -> str | None:
    """Return the key from outside that a place owes its value to, if there is one."""
    here = ".".join(place)
    made = here and place not in document.lines  # a section on the way to such a key
    causes = (one for one in sorted(keys) if is_below(here, one) or (made and is_below(one, here)))
    return next(causes, None)


def _reason(item: Any, place: tuple[str, ...], model: type[BaseModel], data: Any) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return f"unknown key{near_miss(model, place, data)}"
    if kind == "missing":
        is_key = isinstance(item["loc"][-1], str)
        return "this key is missing" if is_key else "this list is too short"
    if kind == "union_tag_not_found":
        return f"the key {_tag_name(item)} is missing; it says what this is"
    if kind == "union_tag_invalid":
        known = item["ctx"]["expected_tags"].replace("'", "")
        return f'"{item["ctx"]["tag"]}" is none of {known}'
    if kind == "string_type":
        return "this is not a text to YAML; put quotes around it"
    if kind in SECTION_WANTED:
        return "this must be a mapping of keys to values"
    if kind == "tuple_type":
        return "this must be a list"
    reason = str(item["msg"]).removeprefix("Value error, ")
    return f"{reason[0].lower()}{reason[1:]}"


def _tag_name(item: Any) -> str:
    return str(item["ctx"]["discriminator"]).strip("'")
