# SPDX-License-Identifier: Apache-2.0
"""Loads an experiment file: every problem at once, each with its line and, if there is one, the
key that was probably meant."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from testbed.errors import SpecError
from testbed.spec.model import ExperimentSpec

Place = tuple[str, ...]

TEXT_TAG, INTEGER_TAG, MERGE_TAG = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "merge"))

# YAML 1.1 counts 10:30 as 630, in sixties, and 010 as 8, in eights.
_SURPRISE = re.compile(r".*:.*|[-+]?0[0-7_]+")


class _Loader(yaml.SafeLoader):
    """Says where a value is that only looks like a number or a date."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            what = f'"{node.value}" is not what it looks like to YAML; put quotes around it'
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark) from error


def load_spec(path: Path, overrides: dict[str, Any] | None = None) -> ExperimentSpec:
    """Return the experiment in a file.

    Args:
        path: the file.
        overrides: values that replace those of the file, by dotted key.

    Raises:
        SpecError: the file cannot be read or is wrong.
    """
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: this is not an experiment file: it is not text") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: the experiment cannot be read: {reason}") from error
    return parse_spec(text, str(path), overrides or {})


def parse_spec(text: str, name: str, overrides: dict[str, Any]) -> ExperimentSpec:
    """Return the experiment in a text; name is what messages call it."""
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise SpecError(f"{name}:1: an experiment file is a mapping of keys to values")
        # First, because the values of merged keys are moved when the values are made.
        problems = list(_index(root, (), lines, set()))
        data = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise SpecError(_yaml_problem(name, text, error)) from error
    except RecursionError:
        raise SpecError(f"{name}:1: the file is nested too deeply") from None
    for key, value in overrides.items():
        _put(data, key.split("."), value)
    try:
        spec = ExperimentSpec.model_validate(data)
    except ValidationError as error:
        # _index has named the keys that are no texts, by their lines.
        items = [item for item in error.errors() if item["type"] != "invalid_key"]
        problems += [_problem(item, lines) for item in items]
        spec = None
    if problems or spec is None:
        raise SpecError("\n".join(_sentence(name, *found) for found in sorted(problems)))
    return spec


def _sentence(name: str, line: int, what: str) -> str:
    # A quoted key or value may have line ends of its own.
    return f"{name}:{line}: {' '.join(what.split())}"


def _yaml_problem(name: str, text: str, error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return _sentence(name, line, f"the character #x{error.character:04x} is not allowed")
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    said = [getattr(error, part, None) for part in ("context", "problem")]
    return _sentence(name, line, ", ".join(filter(None, said)) or str(error))


def _index(
    node: yaml.Node, place: Place, lines: dict[Place, int], seen: set[int]
) -> Iterator[tuple[int, str]]:
    """Record the line of every key, and yield what is wrong with keys and with plain numbers."""
    # An alias is the same node again, and may lie within itself.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*place, str(number))] = item.start_mark.line + 1
            yield from _index(item, (*place, str(number)), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            line, dotted = key.start_mark.line + 1, ".".join(here)
            if key.tag not in (TEXT_TAG, MERGE_TAG):
                yield line, f"{dotted}: this key is not a text to YAML; put quotes around it"
            if here in lines:
                yield line, f"{dotted}: this key is already in line {lines[here]}"
            lines[here] = line
            yield from _index(value, here, lines, seen)
    elif node.tag == INTEGER_TAG and _SURPRISE.fullmatch(node.value):
        what = f"{'.'.join(place)}: {node.value} is another number to YAML"
        yield node.start_mark.line + 1, f"{what}; write a decimal number, or quotes around a text"


def _put(data: Any, keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            return  # the file's own mistake is what will be reported
    data[keys[-1]] = value


def _problem(item: Any, lines: dict[Place, int]) -> tuple[int, str]:
    place = tuple(str(part) for part in item["loc"])
    key = ".".join(place)
    line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)
    if item["type"] == "extra_forbidden":
        return line, f"{key}: unknown key{_near_miss(place)}"
    if item["type"] == "missing":
        return line, f"{key}: this key is missing"
    if item["type"] == "string_type":
        return line, f"{key}: this is not a text to YAML; put quotes around it"
    if item["type"] == "model_type":
        return line, f"{key}: this must be a mapping of keys to values"
    reason = item["msg"].removeprefix("Value error, ")
    return line, f"{key}: {reason[0].lower()}{reason[1:]}"


def _near_miss(place: Place) -> str:
    known = _keys_at(ExperimentSpec, place[:-1])
    near = get_close_matches(place[-1], known, n=1, cutoff=0.7)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _keys_at(model: type[BaseModel], place: Place) -> list[str]:
    names = {field.alias or name: field for name, field in model.model_fields.items()}
    if not place:
        return list(names)
    field = names.get(place[0])
    inner = field.annotation if field else None
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return _keys_at(inner, place[1:])
    return []
