# SPDX-License-Identifier: Apache-2.0
"""The same experiment on two backends: by how much each number differs, and how sure that is.

Runs are told apart by their cell only; what varies within a cell is the seed. The difference of two
means has the interval of Welch's t-test, which does not ask the two to vary equally: on one machine
runs differ by their seeds alone, on the other one by what else the machine does.
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
        first, second: means; None where no usable run has the number.
        first_runs, second_runs: how many usable runs have it.
        difference: second minus first.
        low, high: of the difference, with a confidence of CONFIDENCE; None for fewer than two runs.
        relative: the difference in parts of the first mean; None where that is 0.
    """

    cell: str
    metric: str
    first: float | None
    second: float | None
    first_runs: int
    second_runs: int
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
            found.append(
                difference(
                    cell.label, metric, _values(cell.usable, metric), _values(theirs, metric)
                )
            )
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


def _values(table: pd.DataFrame, metric: str) -> Floats:
    if metric not in table:
        return np.array([], dtype=np.float64)
    numbers = pd.to_numeric(table[metric], errors="coerce").astype("Float64").dropna()
    return np.asarray(numbers, dtype=np.float64)


def difference(cell: str, metric: str, first: Floats, second: Floats) -> Difference:
    """Return the difference of the means of two samples, with Welch's interval."""
    counts = {"first_runs": len(first), "second_runs": len(second)}
    means = [float(np.mean(one)) if len(one) else None for one in (first, second)]
    a, b = means
    if a is None or b is None:
        return Difference(cell, metric, a, b, **counts)
    off = b - a
    low, high = welch_interval(first, second)
    relative = off / a if a else None
    return Difference(cell, metric, a, b, **counts, difference=off, low=low, high=high,
                      relative=relative)  # fmt: skip


def welch_interval(first: Floats, second: Floats) -> tuple[float | None, float | None]:
    """Return the interval of the difference of two means; None for fewer than two values each."""
    if min(len(first), len(second)) < 2:
        return None, None
    off = float(np.mean(second) - np.mean(first))
    parts = [float(np.var(one, ddof=1)) / len(one) for one in (first, second)]
    error = sum(parts) ** 0.5
    if error == 0.0:
        return off, off
    freedoms = [part**2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True)]
    freedom = sum(parts) ** 2 / sum(freedoms)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return off - reach, off + reach


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
        f"Difference of the means, with Welch's interval of {CONFIDENCE:.0%} where there are two "
        "runs or more on both.",
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
    return f"{label} (n = {one.first_runs}, {one.second_runs})"
