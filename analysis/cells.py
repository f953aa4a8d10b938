# SPDX-License-Identifier: Apache-2.0
"""The cells of an experiment: which runs answer the same question, their name and their look."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pandas as pd

from analysis.interference_words import BEHAVIOURS
from analysis.style import (
    ALL_MODES,
    SPARE_COLOURS,
    ModeStyle,
    mode_style,
    ordered_style,
)
from testbed.units import RATE_UNITS, SIZE_UNITS, TIME_UNITS

REPLICATES = ("seed", "repetition")  # runs that differ in these alone are repetitions
_QUANTITY = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*")
# Every unit with what it is in the unit of its kind, so that "500 KB" comes before "2 MB".
UNITS = {
    **{name: (float(factor), "bit/s") for name, factor in RATE_UNITS.items()},
    **{name: (float(factor), "s") for name, factor in TIME_UNITS.items()},
    **{name: (float(factor), "B") for name, factor in SIZE_UNITS.items()},
    "%": (0.01, ""),
    "": (1.0, ""),
}


@dataclass(frozen=True)
class Cell:
    """The runs of one combination of varied values.

    Attributes:
        label: the combination in words, "" where nothing varies.
        values: of the varied keys, those of REPLICATES left out.
        look: how it is drawn.
        runs: its rows of the table of runs.
    """

    label: str
    values: dict[str, str]
    look: ModeStyle
    runs: pd.DataFrame

    @property
    def usable(self) -> pd.DataFrame:
        """Return the runs that numbers are made of: those that are valid or suspect."""
        return self.runs[self.runs["verdict"].isin(["valid", "suspect"])]

    @property
    def invalid(self) -> pd.DataFrame:
        """Return the runs that left something and are invalid."""
        return self.runs[self.runs["verdict"] == "invalid"]

    def median(self, column: str) -> float:
        """Return the median over the usable runs; nan if there is no number."""
        return float(self.usable[column].astype("float64").median())


def cells_of(runs: pd.DataFrame, varies: Iterable[str]) -> list[Cell]:
    """Return the cells in the order in which they are shown.

    Args:
        runs: the table of runs.
        varies: the varied keys.
    """
    keys = [key for key in varies if key in runs and key not in REPLICATES]
    if not keys:
        mode = next((str(mode) for mode in runs["mode"].dropna().unique()), "")
        look = mode_style(mode) or ModeStyle(mode or "all runs", SPARE_COLOURS[0])
        return [Cell(look.label, {}, look, runs)]
    texts = runs[keys].astype("str")
    order = sorted(texts.drop_duplicates().itertuples(index=False, name=None), key=_sort_key(keys))
    found = []
    for place, values in enumerate(order):
        named = dict(zip(keys, values, strict=True))
        rows = runs[(texts == list(values)).all(axis=1)]
        found.append(Cell(cell_label(named), named, _look(named, place, len(order)), rows))
    return found


def cell_label(values: dict[str, str]) -> str:
    """Return a combination of values in words: a mode by its name, others with their key."""
    parts = [
        (mode_style(value) or ModeStyle(value, "")).label
        if key == "mode"
        else f"no {short_key(key)}"
        if value == str(None)
        else f"{short_key(key)} {value}"
        for key, value in values.items()
    ]
    return ", ".join(parts)


def short_key(key: str) -> str:
    """Return a dotted key without its section, and with spaces: "3g queue"."""
    last = key.split(".")[-2:]
    return " ".join(part.replace("_", " ") for part in last if part not in ("links", "parameters"))


def quantity(text: str) -> tuple[float, str] | None:
    """Return a text such as "500 KB" as a number in the unit of its kind; None if it is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None or (match[2] or "") not in UNITS:
        return None
    factor, unit = UNITS[match[2] or ""]
    return float(match[1]) * factor, unit


def numeric_key(cells: list[Cell]) -> str | None:
    """Return the varied key with the most values if all of them are quantities of one kind."""
    best: tuple[int, str] | None = None
    for key in cells[0].values if cells else ():
        found = [quantity(cell.values[key]) for cell in cells]
        kinds = {None if value is None else value[1] for value in found}
        count = len({value for value in found if value})
        if None not in kinds and len(kinds) == 1 and count > 1 and (not best or count > best[0]):
            best = (count, key)
    return best[1] if best else None


def without(values: dict[str, str], key: str) -> dict[str, str]:
    """Return the values of the other keys."""
    return {name: value for name, value in values.items() if name != key}


def series_of(cells: list[Cell], key: str) -> list[tuple[str, ModeStyle, list[Cell]]]:
    """Return the cells that differ in `key` alone, with the label and look they share."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell_label(without(cell.values, key)), []).append(cell)
    found = []
    for place, (label, members) in enumerate(groups.items()):
        look = _look(without(members[0].values, key), place, len(groups))
        members.sort(key=lambda cell: (quantity(cell.values[key]) or (0.0, ""))[0])
        found.append((label, look, members))
    return found


def _look(values: dict[str, str], place: int, count: int) -> ModeStyle:
    """Return the look of a combination: the mode's, or one by its place where none is varied."""
    label = cell_label(values)
    known = mode_style(values.get("mode", ""))
    return replace(known, label=label) if known else ordered_style(label, place, count)


def _sort_key(keys: list[str]) -> Callable[[tuple[str, ...]], list[tuple[float, float, str]]]:
    modes = [*(mode for table in ALL_MODES for mode in table), *BEHAVIOURS]

    def one(key: str, text: str) -> tuple[float, float, str]:
        if key == "mode":
            return (0.0, modes.index(text) if text in modes else len(modes), text)
        number = quantity(text)
        return (0.0, number[0], text) if number else (1.0, 0.0, text)

    return lambda values: [one(key, text) for key, text in zip(keys, values, strict=True)]
