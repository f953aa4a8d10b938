# SPDX-License-Identifier: Apache-2.0
"""The matrix of an experiment: which values are varied, and every combination of them."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_CELLS = 10_000
MAX_WORDS, MAX_DEPTH = 100, 8
FIXED = ("schema", "name", "question", "seed", "matrix", "repetitions", "expect")


@dataclass(frozen=True)
class Matrix:
    """What is varied.

    Attributes:
        varied: the values of every varied key.
        problems: key and sentence of what cannot be varied so.
        replaced: keys that are varied no more, because the command line sets them.
    """

    varied: dict[str, list[Any]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, data: Any, overrides: Mapping[str, Any]) -> "Matrix":
        """Return the matrix of a file; what the command line sets is varied no more."""
        found = data.get("matrix") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            return cls()
        varied, problems = {}, []
        replaced = [key for key in found if key in overrides]
        for key, values in found.items():
            if key in replaced or not isinstance(key, str) or not isinstance(values, list):
                continue  # what the model says of it is enough
            if key.split(".")[0] in FIXED:
                problems.append((key, f"matrix.{key}: this key cannot be varied"))
            elif not values:
                problems.append((key, f"matrix.{key}: give at least one value"))
            elif len({value_text(value) for value in values}) < len(values):
                problems.append((key, f"matrix.{key}: a value stands there twice"))
            else:
                varied[key] = values
        matrix = cls(varied, problems, replaced)
        if matrix.size > MAX_CELLS:
            what = f"matrix: these are {matrix.size} cells, more than {MAX_CELLS}; vary less"
            return cls({}, [*problems, (next(iter(varied)), what)], replaced)
        return matrix

    @property
    def size(self) -> int:
        """The number of cells."""
        size = 1
        for values in self.varied.values():
            size *= len(values)
        return size

    def cells(self) -> Iterator[dict[str, Any]]:
        """Yield the values of each cell, the last key varying fastest."""
        for values in itertools.product(*self.varied.values()):
            yield dict(zip(self.varied, values, strict=True))

    def apply(self, data: Any, values: Mapping[str, Any]) -> Any:
        """Return a file's data with values in their places; the data stay as they are."""
        cell = copy.copy(data)
        for key, value in values.items():
            place_value(cell, key, value)
        return cell


def place_value(data: Any, key: str, value: Any) -> None:
    """Put a value at a dotted key, making the sections on the way to it.

    A section that is no mapping is left as it is: the file's own mistake will be reported.
    """
    *above, last = key.split(".")
    for part in above:
        data = _own(data, part)
    if _is_index(data, last):
        data[int(last)] = value
    elif isinstance(data, dict):
        data[last] = value


def _own(data: Any, part: str) -> Any:
    """Return what is at a key as a copy, because an alias elsewhere may be the same object."""
    if _is_index(data, part):
        data[int(part)] = copy.copy(data[int(part)])
        return data[int(part)]
    if isinstance(data, dict):
        data[part] = copy.copy(data.get(part, {}))
        return data[part]
    return None


def _is_index(data: Any, part: str) -> bool:
    is_number = part.isascii() and part.isdigit()
    return isinstance(data, list) and is_number and int(part) < len(data)


def value_text(value: Any) -> str:
    """Return a varied value as text, for names and tables; a very long one is cut."""
    return " ".join(itertools.islice(_words(value, 0), MAX_WORDS))


def _words(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield "..."  # an alias may lie within itself
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, list):
        for item in value:
            yield from _words(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            words = _words(item, depth + 1)
            yield f"{key}={next(words, '')}"
            yield from words
    else:
        yield str(value)
