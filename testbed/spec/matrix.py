# SPDX-License-Identifier: Apache-2.0
"""The matrix of an experiment: which values are varied, and every combination of them."""

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_CELLS = 10_000
FIXED = ("schema", "name", "question", "seed", "matrix", "repetitions")


@dataclass(frozen=True)
class Matrix:
    """What is varied.

    Attributes:
        varied: the values of every varied key.
        problems: key and sentence of what cannot be varied so.
    """

    varied: dict[str, list[Any]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, data: Any, overrides: Mapping[str, Any]) -> "Matrix":
        """Return the matrix of a file; what the command line sets is varied no more."""
        found = data.get("matrix") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            return cls()
        varied, problems = {}, []
        for key, values in found.items():
            if not isinstance(key, str) or not isinstance(values, list):
                continue  # what the model says of it is enough
            if key.split(".")[0] in FIXED:
                problems.append((key, f"matrix.{key}: this key cannot be varied"))
            elif not values:
                problems.append((key, f"matrix.{key}: give at least one value"))
            elif len({value_text(value) for value in values}) < len(values):
                problems.append((key, f"matrix.{key}: a value stands there twice"))
            elif key not in overrides:
                varied[key] = values
        matrix = cls(varied, problems)
        if matrix.size > MAX_CELLS:
            what = f"matrix: these are {matrix.size} cells, more than {MAX_CELLS}; vary less"
            return cls({}, [*problems, (next(iter(varied)), what)])
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
        """Return a file's data with the values of a cell in their places."""
        if not values:
            return data
        cell = copy.deepcopy(data)
        for key, value in values.items():
            place_value(cell, key, value)
        return cell


def place_value(data: Any, key: str, value: Any) -> None:
    """Put a value at a dotted key, making the sections on the way to it.

    A section that is no mapping is left as it is: the file's own mistake will be reported.
    """
    keys = key.split(".")
    for part in keys[:-1]:
        if isinstance(data, list) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
            continue
        if not isinstance(data, dict):
            return
        data = data.setdefault(part, {})
    if isinstance(data, list) and keys[-1].isdigit() and int(keys[-1]) < len(data):
        data[int(keys[-1])] = value
    elif isinstance(data, dict):
        data[keys[-1]] = value


def value_text(value: Any) -> str:
    """Return a varied value as text, for names and tables."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(value_text(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}={value_text(item)}" for key, item in value.items())
    return str(value)
