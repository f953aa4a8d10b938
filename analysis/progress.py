# SPDX-License-Identifier: Apache-2.0
"""Draw how far each run had come at each time: tables in, Figure out."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.cells import Cell, cell_label, without
from analysis.layout import Grid, Texts, draw_frame
from analysis.sweep import Sweep
from analysis.time_axes import (
    MAX_PANELS,
    cell_handles,
    coverage_handles,
    finish_time_axes,
    shade_coverage,
)

FULL_HEIGHT_INCHES = 3.4
Floats = npt.NDArray[np.float64]


def progress_figure(sweep: Sweep, goodput: pd.DataFrame) -> Figure:
    """Draw how much the application had at each time: a line per run, a thick one their median.

    Args:
        goodput: the derived table of all runs, with run_dir.
    """
    panels = _panels(sweep.cells)
    many = len(panels) > 1
    grid = Grid(2.3 if many else FULL_HEIGHT_INCHES, math.ceil(len(panels) / (2 if many else 1)),
                2 if many else 1, head=0.34 if many else 0.2)  # fmt: skip
    notes = [*_time_notes(sweep, panels), *sweep.caveats()]
    with style.settings():
        handles = cell_handles(sweep) + coverage_handles(sweep.facts.distinct_coverages())
        handles += _end_handles(sweep)
        title = f"Progress of the {sweep.facts.subject or 'runs'}"
        figure, axes = draw_frame(Texts(title, sweep.subtitle(), notes, handles), grid)
        places = [place for row in axes for place in row]
        for place, (heading, cells) in zip(places, panels, strict=False):
            _draw_progress(place, cells, goodput, sweep.facts.is_sized)
            place.set_title(heading, fontsize=9, loc="left")
        end_s = max((place.dataLim.x1 for place in places if place.lines), default=1.0)
        finish_time_axes(axes, end_s, "delivered to the application (MB)", len(panels))
        for place in places[: len(panels)]:
            shade_coverage(place, sweep.facts.distinct_coverages(), end_s)
    return figure


def progress_of(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return times and MB delivered by then, from a run's rows of the goodput table.

    The line ends with the bin of the last byte.
    """
    per_bin = rows.groupby("t_s")["bytes"].sum()
    starts, sizes = per_bin.index.to_numpy(float), per_bin.to_numpy(float)
    some = np.flatnonzero(sizes)
    if not some.size:
        return np.zeros(0), np.zeros(0)
    width = starts[1] - starts[0] if starts.size > 1 else 0.5
    last = some[-1] + 1
    times = np.append(starts[:last], starts[last - 1] + width)
    return times, np.append(0.0, np.cumsum(sizes[:last])) / 1e6


def _draw_progress(axes: Axes, cells: list[Cell], goodput: pd.DataFrame, is_sized: bool) -> None:
    for cell in cells:
        lines = []
        for row in cell.runs.to_dict("records"):
            times, sizes = progress_of(goodput[goodput["run_dir"] == row["run_dir"]])
            if not times.size:
                continue
            is_usable = row["verdict"] in ("valid", "suspect")
            look = cell.look if is_usable else style.INVALID
            ended = not pd.isna(row["download_s"])
            fill = look.colour if ended or not is_sized else "white"
            if ended:
                times[-1] = min(times[-1], max(times[-2], float(row["virtual_s"] or times[-1])))
            lines += [(times, sizes)] if is_usable else []
            width = 0.7 if not is_usable or len(cell.usable) > 1 else 1.8
            axes.plot(times, sizes, color=look.colour, linestyle=look.line, linewidth=width,
                      alpha=0.75 if width < 1 else 1, zorder=3 if is_usable else 2)  # fmt: skip
            axes.plot(times[-1], sizes[-1], color=look.colour, linestyle="", zorder=5,
                      marker=cell.look.marker, markersize=5.5, clip_on=False,
                      markerfacecolor=fill)  # fmt: skip
        if len(lines) > 1:
            axes.plot(*_median_line(lines), color=cell.look.colour, linestyle=cell.look.line,
                      linewidth=2.0, zorder=4)  # fmt: skip


def _median_line(lines: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Return the median of several courses; one that has ended keeps its last value."""
    times = np.unique(np.concatenate([t for t, _ in lines]))
    return times, np.median([np.interp(times, t, mb) for t, mb in lines], axis=0)


def _panels(cells: list[Cell]) -> list[tuple[str, list[Cell]]]:
    """Return the cells of each panel: modes share one, other values have one each."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        rest = without(cell.values, "mode") if "mode" in cell.values else {}
        groups.setdefault(cell_label(rest), []).append(cell)
    return list(groups.items())[:MAX_PANELS]


def _end_handles(sweep: Sweep) -> list[Any]:
    handles = []
    unfinished = sweep.runs["download_s"].isna() & (sweep.runs["status"] != "not started")
    if sweep.facts.is_sized and unfinished.any():
        handles.append(Line2D([], [], color=style.MUTED, marker="o", linestyle="", markersize=5,
                              markerfacecolor="white", label="not finished"))  # fmt: skip
    if (sweep.runs["verdict"] == "invalid").any():
        look = style.INVALID
        handles.append(Line2D([], [], color=look.colour, linestyle=look.line, linewidth=0.9,
                              label="invalid run"))  # fmt: skip
    return handles


def _time_notes(sweep: Sweep, panels: list[tuple[str, list[Cell]]]) -> list[str]:
    notes = ["Application bytes, each counted once, in bins of 0.5 s; markers are the runs' ends."]
    if any(len(cell.usable) > 1 for cell in sweep.cells):
        notes[0] += " Thin lines are runs, thick ones the median of a cell's usable runs."
    shown = sum(len(cells) for _, cells in panels)
    if shown < len(sweep.cells):
        notes.append(f"{len(sweep.cells) - shown} more cells are left out.")
    return notes
