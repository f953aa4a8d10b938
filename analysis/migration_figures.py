# SPDX-License-Identifier: Apache-2.0
"""Draw migrations: goodput over time with the phases shaded, gaps and times, and round trips."""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.cells import Cell, numeric_key, quantity, series_of
from analysis.curves import axis_unit, invalid_handles
from analysis.layout import Grid, Texts, draw_frame, wrap_label
from analysis.sweep import Sweep, brief
from analysis.time_axes import MAX_PANELS, finish_time_axes
from analysis.timelines import examples

ROUND_COLOURS = ("#DCE9F5", "#C3D9EE")
STOP_COLOUR, TUNNEL_COLOUR = "#F2B8B5", "#F7E3B0"
LEAST_GAP_S = 1e-3
# Column -> what it is called.
TIMES = {"gap_s": "time without a byte at the client (s)", "migration_s": "migration (s)"}
ROW_INCHES, LABEL_INCHES = 0.42, 2.6
Floats = npt.NDArray[np.float64]
Phases = dict[str, dict[str, Any]]


def transfers_figure(
    sweep: Sweep, transfers: pd.DataFrame, rounds: pd.DataFrame, phases: Phases
) -> Figure:
    """Draw one run of every cell: what client and machine read over time, and the phases.

    Args:
        transfers, rounds: the derived tables of all runs, with run_dir.
        phases: the summary's phases, by run_dir.
    """
    chosen = examples(sweep)
    left_out, chosen = chosen[MAX_PANELS:], chosen[:MAX_PANELS]
    columns = 1 if len(chosen) < 2 else 2
    grid = Grid(1.35, max(math.ceil(len(chosen) / columns), 1), columns, gap_y=0.5, head=0.36)
    notes = ["One run of each cell: the first that is usable. Bytes that the applications read, in "
             "bins of 0.1 s. Blue: rounds of pre-copy; red: the machine stands still; yellow: its "
             "old address is reached through the tunnel.", *sweep.caveats()]  # fmt: skip
    notes += [f"{len(left_out)} more cells are left out."] if left_out else []
    with style.settings():
        texts = Texts(f"Transfers during the {sweep.facts.subject}", sweep.subtitle(), notes,
                      _phase_handles())  # fmt: skip
        figure, axes = draw_frame(texts, grid)
        places = [place for row in axes for place in row]
        end_s = 1.0
        for place, (cell, row) in zip(places, chosen, strict=False):
            mine = transfers[transfers["run_dir"] == row["run_dir"]]
            _draw_transfers(place, cell, row, mine)
            _shade(place, rounds[rounds["run_dir"] == row["run_dir"]],
                   phases.get(str(row["run_dir"]), {}))  # fmt: skip
            end_s = max(end_s, float(mine.loc[mine["bytes"] > 0, "t_s"].max()) + 0.1)
        finish_time_axes(axes, end_s, "goodput\n(Mbit/s)", len(chosen), places)
    return figure


def _phase_handles() -> list[Any]:
    return [
        Line2D([], [], color=style.INK, linewidth=1.2, label="the client's download"),
        Line2D([], [], color=style.MUTED, linewidth=0.8, linestyle=":", label="upload"),
        Patch(facecolor=ROUND_COLOURS[1], label="rounds of pre-copy"),
        Patch(facecolor=STOP_COLOUR, label="stop and copy"),
        Patch(facecolor=TUNNEL_COLOUR, label="tunnel"),
    ]


def _draw_transfers(
    axes: Axes, cell: Cell, row: dict[Hashable, Any], transfers: pd.DataFrame
) -> None:
    for flow, colour, width, line in (("upload", style.MUTED, 0.8, ":"),
                                      ("download", cell.look.colour, 1.3, "-")):  # fmt: skip
        rows = transfers[transfers["flow"] == flow]
        axes.step(rows["t_s"], rows["goodput_mbps"], where="post", color=colour, linewidth=width,
                  linestyle=line, zorder=3)  # fmt: skip
    gap = row.get("gap_s")
    said = "no byte after the move" if pd.isna(gap) else f"gap {brief(float(gap))} s"
    if not pd.isna(row.get("stop_and_copy_s")):
        said += f"  ·  stopped for {brief(float(row['stop_and_copy_s']))} s"
    axes.set_title(f"{cell.label or 'run'}\n{said}", fontsize=8.5, loc="left", pad=3)


def _shade(axes: Axes, rounds: pd.DataFrame, phases: dict[str, Any]) -> None:
    for number, (first_s, last_s) in enumerate(rounds[["started_s", "ended_s"]].to_numpy(float)):
        axes.axvspan(first_s, last_s, color=ROUND_COLOURS[number % 2], linewidth=0, zorder=0)
    stopped_s, resumed_s = phases.get("stopped_s"), phases.get("resumed_s")
    if stopped_s is None or resumed_s is None:
        return
    axes.axvspan(stopped_s, resumed_s, color=STOP_COLOUR, linewidth=0, zorder=1)
    if phases.get("tunnel_removed_s"):
        axes.axvspan(resumed_s, phases["tunnel_removed_s"], color=TUNNEL_COLOUR, linewidth=0)


def times_figure(sweep: Sweep) -> Figure:
    """Draw gap and length of the migration: against a number that varies, or a row per cell."""
    key = numeric_key(sweep.cells)
    return _rows(sweep) if key is None else _curves(sweep, key)


def _curves(sweep: Sweep, key: str) -> Figure:
    series = series_of(sweep.cells, key)
    scale, unit = axis_unit([cell.values[key] for cell in sweep.cells])
    notes = ["Curves join medians of the usable runs, points are runs. Broken line on the right: "
             "the model of pre-copy. A variant without a curve on the left got no byte after the "
             "move.", *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles = [Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                          label=label) for label, look, _ in series if label]  # fmt: skip
        handles += invalid_handles(sweep, True, False)
        texts = Texts(f"Gap and length of the {sweep.facts.subject}", sweep.subtitle(), notes,
                      handles)  # fmt: skip
        grid = Grid(2.9, columns=2, gap_x=0.75, is_shared=False)
        figure, [places] = draw_frame(texts, grid)
        for axes, (column, label) in zip(places, TIMES.items(), strict=True):
            for _, look, cells in series:
                at = [(quantity(cell.values[key]) or (0.0, ""))[0] / scale for cell in cells]
                _draw_curve(axes, at, cells, column, look)
                if column == "migration_s":
                    model = [cell.median("model_migration_s") for cell in cells]
                    axes.plot(at, model, color=style.INK, linestyle="--", linewidth=0.8, zorder=2)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5)
            axes.set_xlabel(key + (f" ({unit})" if unit else ""))
            axes.set_ylabel(label)
    return figure


def _draw_curve(axes: Axes, at: list[float], cells: list[Cell], column: str, look: Any) -> None:
    axes.plot(at, [cell.median(column) for cell in cells], color=look.colour, linestyle=look.line,
              marker=look.marker, markersize=5, linewidth=1.6, zorder=3)  # fmt: skip
    for x, cell in zip(at, cells, strict=True):
        values = cell.usable[column].astype("float64").to_numpy()
        axes.plot(np.full(values.size, x), values, linestyle="", marker=".", markersize=4,
                  color=look.colour, alpha=0.7, zorder=4)  # fmt: skip


def _rows(sweep: Sweep) -> Figure:
    """Draw a row per cell: how long the machine stood still, and the gap that the client saw."""
    notes = ["Bars: how long the machine stood still. Points: the time without a byte at the "
             "client (filled) and at the machine (open) around that. A proxy goes on for a while "
             "with what it holds.", *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles: list[Any] = [Patch(color=STOP_COLOUR, label="stop and copy")]
        handles += [Line2D([], [], linestyle="", marker="o", color=style.INK, markerfacecolor=fill,
                           label=label)
                    for fill, label in ((style.INK, "gap of the download"),
                                        ("white", "gap of the upload"))]  # fmt: skip
        texts = Texts(f"Gaps of the {sweep.facts.subject}", sweep.subtitle(), notes,
                      handles + invalid_handles(sweep, True, False))  # fmt: skip
        height = max(ROW_INCHES * len(sweep.cells), 1.0)
        figure, [[axes]] = draw_frame(texts, Grid(height, left=LABEL_INCHES, right=1.0))
        for place, cell in enumerate(sweep.cells):
            _draw_row(axes, place, cell)
        _finish_rows(axes, sweep)
        axes.set_xlabel("time (s)")
    return figure


def _draw_row(axes: Axes, place: int, cell: Cell) -> None:
    axes.barh(place, cell.median("stop_and_copy_s"), 0.6, color=STOP_COLOUR, zorder=1)
    for column, fill in (("upload_gap_s", "white"), ("gap_s", cell.look.colour)):
        for runs, mark, colour in ((cell.usable, "o", cell.look.colour),
                                   (cell.invalid, "x", style.INVALID.colour)):  # fmt: skip
            values = runs[column].astype("float64").to_numpy()
            axes.plot(values, np.full(values.size, place), linestyle="", marker=mark, color=colour,
                      markerfacecolor=fill, markersize=6, zorder=3)  # fmt: skip
    gap, upload = cell.median("gap_s"), cell.median("upload_gap_s")
    said = "no byte after the move" if np.isnan(gap) else f"{brief(gap)} s"
    said += "" if np.isnan(gap) or np.isnan(upload) else f"; upload {brief(upload)} s"
    right = np.nanmax([gap, upload, cell.median("stop_and_copy_s"), 0.0])
    axes.annotate(said, (right, place), (8, 0), textcoords="offset points", fontsize=8, va="center")


def round_trip_figure(sweep: Sweep) -> Figure:
    """Draw the round trip from the machine to the client before and after the move."""
    notes = ["Median of the smoothed RTT of the download's subflow, with the queue that the "
             "download itself makes; from its start to the stop, and from 1 s after the machine "
             "went on. With a proxy: of the machine's own connection, to the proxy.",
             *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles = [
            Line2D(
                [],
                [],
                linestyle="",
                marker=mark,
                color=style.INK,
                label=label,
                markerfacecolor=fill,
            )
            for mark, fill, label in (("o", "white", "before"), ("o", style.INK, "after"))
        ]
        texts = Texts(f"Round trip to the client, {sweep.facts.subject}", sweep.subtitle(), notes,
                      handles)  # fmt: skip
        height = max(ROW_INCHES * len(sweep.cells), 1.0)
        figure, [[axes]] = draw_frame(texts, Grid(height, left=LABEL_INCHES, right=1.0))
        for place, cell in enumerate(sweep.cells):
            before, after = cell.median("rtt_before_ms"), cell.median("rtt_after_ms")
            axes.plot([before, after], [place, place], color=cell.look.colour, linewidth=1.5)
            for value, fill in ((before, "white"), (after, cell.look.colour)):
                axes.plot(value, place, marker="o", color=cell.look.colour, markerfacecolor=fill,
                          markersize=7, zorder=3)  # fmt: skip
            said = (
                "no data after the move" if np.isnan(after) else f"{before:.0f} to {after:.0f} ms"
            )
            axes.annotate(said, (np.nanmax([before, after, 0.0]), place), (8, 0),
                          textcoords="offset points", fontsize=8, va="center")  # fmt: skip
        _finish_rows(axes, sweep)
        axes.set_xlabel("smoothed RTT (ms)")
    return figure


def _finish_rows(axes: Axes, sweep: Sweep) -> None:
    labels = [wrap_label(cell.label or "all runs", 36) for cell in sweep.cells]
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.set_ylim(len(sweep.cells) - 0.5, -0.5)
    axes.set_xlim(0, max(axes.dataLim.x1 * 1.15, 0.1))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
