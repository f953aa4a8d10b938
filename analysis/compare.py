# SPDX-License-Identifier: Apache-2.0
"""The same experiment on two backends: by how much each number differs, and how sure that is.

Runs are paired by cell and seed: both backends carry out the same plan, so what the seed decides,
the ride or the order of losses, is in both runs of a pair and drops out of their difference. What
is left is the backend's. The mean of the differences has the interval of Student's t-test for
pairs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy import stats

from analysis import style
from analysis.cells import cells_of
from analysis.layout import Grid, Texts, draw_frame
from analysis.runs import MIGRATION_NUMBERS, NUMBERS, Results

CONFIDENCE = 0.95
# How long the machine took is no result.
NO_METRICS = ("wall_s", "virtual_s")
ROW_INCHES, LEAST_INCHES = 0.28, 1.6
# Beyond this the axis is logarithmic, so that one wild number does not hide the others.
LINEAR_PERCENT = 100.0
LEAST_LEFT_INCHES, CHARACTER_INCHES = 0.3, 0.07
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One number in one cell on two backends.

    Attributes:
        cell: in words, "" where nothing varies.
        metric: name of the column.
        pairs: how many seeds have the number in usable runs on both.
        first, second: means over the pairs; None where there is none.
        difference: second minus first.
        low, high: of the difference, with a confidence of CONFIDENCE; None for a single pair.
        relative: the difference in parts of the first mean; None where that is 0.
    """

    cell: str
    metric: str
    pairs: int
    first: float | None = None
    second: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    relative: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval is there and does not hold zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def compare(first: Results, second: Results) -> list[Difference]:
    """Return every number of every cell; runs that are invalid do not count."""
    found = []
    others = {cell.label: cell for cell in cells_of(second.table, second.varies)}
    for cell in cells_of(first.table, first.varies):
        other = others.get(cell.label)
        theirs = other.usable if other else second.table.iloc[:0]
        for metric in metrics_of(cell.usable, theirs):
            found.append(difference(cell.label, metric, *_paired(cell.usable, theirs, metric)))
    return found


def metrics_of(*tables: pd.DataFrame) -> list[str]:
    """Return the columns that hold results and have a number in one of the tables."""
    names = list(dict.fromkeys(str(name) for table in tables for name in table))
    known = [*NUMBERS, *MIGRATION_NUMBERS]
    wanted = [
        name
        for name in names
        if (name in known or name.startswith("bytes_") or name.endswith("_nic"))
        and name not in NO_METRICS
    ]
    return [name for name in wanted if any(len(_values(table, name)) for table in tables)]


def _values(table: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """Return the numbers of one column by their seeds."""
    if metric not in table:
        return pd.Series(dtype=np.float64)
    numbers = pd.to_numeric(table.set_index("seed")[metric], errors="coerce")
    return numbers.astype("Float64").dropna().astype(np.float64)


def _paired(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> tuple[Floats, Floats]:
    """Return the numbers of the seeds that have one on both, in the same order."""
    both = pd.concat([_values(first, metric), _values(second, metric)], axis=1, join="inner")
    numbers = both.to_numpy(dtype=np.float64)
    return numbers[:, 0], numbers[:, 1]


def difference(cell: str, metric: str, first: Floats, second: Floats) -> Difference:
    """Return the mean difference of pairs of values, with its interval."""
    if not len(first):
        return Difference(cell, metric, 0)
    a, b = float(np.mean(first)), float(np.mean(second))
    low, high = paired_interval(first, second)
    relative = (b - a) / a if a else None
    return Difference(cell, metric, len(first), a, b, b - a, low, high, relative)


def paired_interval(first: Floats, second: Floats) -> tuple[float | None, float | None]:
    """Return the interval of the mean of second - first; None for fewer than two pairs."""
    off = second - first
    if len(off) < 2:
        return None, None
    middle, error = float(np.mean(off)), float(np.std(off, ddof=1)) / len(off) ** 0.5
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(off) - 1)) * error
    return middle - reach, middle + reach


def as_records(found: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return plain data for JSON."""
    return [{**asdict(one), "is_clear": one.is_clear} for one in found]


def comparison_figure(
    found: Sequence[Difference], names: tuple[str, str], notes: Sequence[str] = ()
) -> Figure:
    """Draw each difference in percent of the first backend's mean, with its interval."""
    rows = [one for one in found if one.relative is not None]
    texts = Texts(
        f"{names[1]} against {names[0]}",
        f"Mean difference of runs with the same seed, with its interval of {CONFIDENCE:.0%} where "
        "there are two pairs or more.",
        ["Red: the interval does not hold zero. Invalid runs do not count.", *notes],
        [],
    )
    with style.settings():
        height = max(ROW_INCHES * len(rows) + 0.6, LEAST_INCHES)
        widest = max((len(_row_label(one)) for one in rows), default=0)
        left = LEAST_LEFT_INCHES + widest * CHARACTER_INCHES
        figure, [[axes]] = draw_frame(texts, Grid(height, left=left))
        for place, one in enumerate(rows):
            assert one.first is not None and one.relative is not None
            colour = style.ALARM if one.is_clear else style.INK
            if one.low is not None and one.high is not None:
                ends = [100 * one.low / abs(one.first), 100 * one.high / abs(one.first)]
                axes.plot(ends, [place, place], color=colour, linewidth=1.6)
            at = 100 * one.relative * (1 if one.first > 0 else -1)
            axes.plot([at], [place], color=colour, marker="o", linestyle="none")
        axes.axvline(0, color=style.FAINT, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [_row_label(one) for one in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.5)
        if max((abs(edge) for edge in axes.get_xlim()), default=0) > LINEAR_PERCENT:
            axes.set_xscale("symlog", linthresh=LINEAR_PERCENT)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.0f}" if x else "0"))
        axes.set_xlabel(f"difference (% of the mean on {names[0]})")
    return figure


def _row_label(one: Difference) -> str:
    label = f"{one.cell}: {one.metric}" if one.cell else one.metric
    return f"{label} ({_count(one.pairs)})"


def _count(pairs: int) -> str:
    return f"{pairs} pair" if pairs == 1 else f"{pairs} pairs"
