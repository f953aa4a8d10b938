# SPDX-License-Identifier: Apache-2.0
"""Reads YAML with the line of every key, and refuses what YAML would silently make of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.errors import SpecError
from testbed.spec.places import Place

TEXT_TAG, INTEGER_TAG, MERGE_TAG = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "merge"))

# YAML 1.1 counts 10:30 as 630, in sixties, and 010 as 8, in eights.
_SURPRISE = re.compile(r".*:.*|[-+]?0[0-7_]+")


@dataclass(frozen=True)
class Document:
    """A file that is a mapping.

    Attributes:
        name: what messages call it.
        data: its content.
        lines: of every key and element.
        problems: line and sentence of what is wrong with keys and plain numbers.
    """

    name: str
    data: dict[str, Any]
    lines: dict[Place, int]
    problems: list[tuple[int, str]]

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one above it."""
        known = (place[:end] for end in range(len(place), 0, -1) if place[:end] in self.lines)
        return next((self.lines[one] for one in known), 1)

    def sentence(self, line: int, what: str) -> str:
        """Return a problem as it is shown; line 0 is for what is not in the file."""
        return _sentence(self.name, line, what)


class _Loader(yaml.SafeLoader):
    """Says where a value is that only looks like a number or a date."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            what = f'"{node.value}" is not what it looks like to YAML; put quotes around it'
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark) from error


def read_text(path: Path, what: str) -> str:
    """Return the text of a file that the user named.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        article = "an" if what[0] in "aeiou" else "a"
        raise SpecError(f"{path}: this is not {article} {what} file: it is not text") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: the {what} cannot be read: {reason}") from error


def read_document(text: str, name: str, what: str) -> Document:
    """Return the document in a text.

    Raises:
        SpecError: it is no YAML, or no mapping.
    """
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            article = "an" if what[0] in "aeiou" else "a"
            raise SpecError(f"{name}:1: {article} {what} file is a mapping of keys to values")
        # First, because the values of merged keys are moved when the values are made.
        problems = list(_index(root, (), lines, set()))
        data = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise SpecError(_yaml_problem(name, text, error)) from error
    except RecursionError:
        raise SpecError(f"{name}:1: the file is nested too deeply") from None
    return Document(name, data, lines, problems)


def read_value(text: str, name: str) -> Any:
    """Return a single value in YAML; name is what messages call it.

    Raises:
        SpecError: it is none.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        problems = list(_index(root, (), {}, set()))
        value = loader.construct_document(root)
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(f"{name} is not YAML; put quotes around it") from error
    if problems:
        raise SpecError(f"{name}: {problems[0][1].removeprefix(': ')}")
    return value


def _sentence(name: str, line: int, what: str) -> str:
    # A quoted key or value may have line ends of its own.
    place = f"{name}:{line}" if line else name
    return f"{place}: {' '.join(what.split())}"


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
