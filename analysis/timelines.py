# SPDX-License-Identifier: Apache-2.0
"""Draw a small picture of one run of every cell, to compare them at a glance."""

import math
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.cells import Cell
from analysis.layout import Grid, Texts, draw_frame
from analysis.metrics import STALL_S, Gap
from analysis.sweep import Sweep, numbers
from analysis.time_axes import (
    MAX_PANELS,
    coverage_handles,
    finish_time_axes,
    path_handles,
    shade_coverage,
)

MAX_BINS, HEADING_CHARACTERS = 240, 54  # of a panel
ALL_PATHS = "all paths"
Floats = npt.NDArray[np.float64]


def timelines_figure(
    sweep: Sweep, throughput: pd.DataFrame, stalls: Mapping[str, Sequence[Gap]]
) -> Figure:
    """Draw one run of every cell: what each interface received, stacked, in equal axes.

    Args:
        throughput: the derived table of all runs, with run_dir.
        stalls: times of STALL_S and more without goodput, by run_dir; see `examples`.
    """
    chosen = examples(sweep)
    left_out, chosen = chosen[MAX_PANELS:], chosen[:MAX_PANELS]
    columns = 1 if len(chosen) < 2 else 2
    grid = Grid(1.25, max(math.ceil(len(chosen) / columns), 1), columns, gap_y=0.56, head=0.44)
    received = throughput[throughput["direction"] == "rx"] if len(throughput) else throughput
    notes = ["One run of each cell: the first that is usable. IP bytes at the receiving interfaces"
             + _bin_note(received) + ". " + " ".join(sweep.facts.models)]  # fmt: skip
    notes += [f"{len(left_out)} more cells are left out."] if left_out else []
    with style.settings():
        handles = path_handles(sweep) + coverage_handles(sweep.facts.distinct_coverages()[:1])
        handles += [Line2D([], [], color=style.ALARM, linewidth=3.5,
                           label=f"no goodput for {STALL_S:g} s or more")]  # fmt: skip
        title = f"Throughput of the {sweep.facts.subject or 'runs'}, cell by cell"
        texts = Texts(title, sweep.subtitle(), [*notes, *sweep.caveats()], handles)
        figure, axes = draw_frame(texts, grid)
        places = _down_the_columns(axes)
        for place, (cell, row) in zip(places, chosen, strict=False):
            _draw_timeline(place, sweep, cell, row, received)
            _mark_stalls(place, stalls.get(str(row["run_dir"]), ()))
        end_s = _end_of(received, [row["run_dir"] for _, row in chosen])
        finish_time_axes(axes, end_s, "throughput\n(Mbit/s)", len(chosen), places)
        for place, (_, row) in zip(places, chosen, strict=False):
            shade_coverage(place, [sweep.facts.coverages.get(str(row["run_dir"]), [])], end_s)
    return figure


def examples(sweep: Sweep) -> list[tuple[Cell, dict[Hashable, Any]]]:
    """Return each cell that has data and the run that stands for it."""
    return [(cell, row) for cell in sweep.cells if (row := _example(cell)) is not None]


def _example(cell: Cell) -> dict[Hashable, Any] | None:
    """Return the run that stands for a cell: a usable one, else one that left something."""
    rows = pd.concat([cell.usable, cell.invalid]).to_dict("records")
    return rows[0] if rows else None


def _draw_timeline(
    axes: Axes, sweep: Sweep, cell: Cell, row: dict[Hashable, Any], received: pd.DataFrame
) -> None:
    is_usable = row["verdict"] in ("valid", "suspect")
    mine = received[received["run_dir"] == row["run_dir"]] if len(received) else received
    floor: Any = 0.0
    for place, path in enumerate(sweep.facts.paths or (ALL_PATHS,)):
        is_path = (mine["path"] == path) if len(mine) and path != ALL_PATHS else slice(None)
        rows = mine[is_path]
        if not len(rows):
            continue
        edges, values = _rebin(rows)
        look = style.path_style(path, place)
        axes.fill_between(edges, floor, floor + values, step="post", linewidth=0, zorder=2,
                          color=look.colour if is_usable else style.INVALID.colour,
                          alpha=0.9 if is_usable else 0.45 + 0.3 * (place % 2),
                          hatch=None if is_usable else "//")  # fmt: skip
        floor = floor + values
    axes.set_title(_heading(cell, row), fontsize=8.5, loc="left", pad=3,
                   color=style.INK if is_usable else style.ALARM)  # fmt: skip


def _heading(cell: Cell, row: dict[Hashable, Any]) -> str:
    """Return a panel's title: what it shows, and in the second line its result."""
    parts = [f"seed {numbers([row['seed']])}"]
    if not pd.isna(row["goodput_mbps"]):
        parts.append(f"{row['goodput_mbps']:.2f} Mbit/s")
    if not pd.isna(row["download_s"]):
        parts.append(f"{row['download_s']:.1f} s")
    if row["verdict"] != "valid":
        parts.append(str(row["verdict"] if row["status"] == "complete" else row["status"]).upper())
    label = textwrap.shorten(cell.label or "run", HEADING_CHARACTERS, placeholder=" ...")
    return f"{label}\n{'  ·  '.join(parts)}"


def _rebin(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return edges and Mbit/s of bins wide enough to be seen; the last value is repeated."""
    per_bin = rows.groupby("t_s")["throughput_mbps"].sum()
    values, starts = per_bin.to_numpy(float), per_bin.index.to_numpy(float)
    width = starts[1] - starts[0] if starts.size > 1 else 0.5
    factor = math.ceil(values.size / MAX_BINS)
    padded = np.append(values, np.zeros(-values.size % factor))
    merged = padded.reshape(-1, factor).mean(axis=1)
    return np.arange(merged.size + 1) * width * factor, np.append(merged, merged[-1])


def _mark_stalls(axes: Axes, stalls: Sequence[Gap]) -> None:
    """Mark on the time axis when the application got nothing; one broken line for all of it."""
    times = [(gap.start_s, gap.start_s + gap.length_s, np.nan) for gap in stalls]
    axes.plot(np.ravel(times), np.zeros(3 * len(times)), color=style.ALARM, linewidth=3.5,
              solid_capstyle="butt", zorder=5, clip_on=False)  # fmt: skip


def _end_of(table: pd.DataFrame, run_dirs: list[str]) -> float:
    if not len(table):
        return 1.0
    rows = table[table["run_dir"].isin(run_dirs) & (table["throughput_mbps"] > 0)]
    return float(rows["t_s"].max()) + 0.5 if len(rows) else 1.0


def _down_the_columns(axes: list[list[Axes]]) -> list[Axes]:
    return [place for column in zip(*axes, strict=True) for place in column]


def _bin_note(received: pd.DataFrame) -> str:
    if not len(received):
        return ""
    longest = int(received.groupby(["run_dir", "path"], observed=True).size().max())
    return f", in bins of {0.5 * math.ceil(longest / MAX_BINS):g} s"
