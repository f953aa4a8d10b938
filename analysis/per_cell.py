# SPDX-License-Identifier: Apache-2.0
"""Draw what the runs of each cell come to: a row per cell, or a curve where a number varies."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.cells import Cell, numeric_key
from analysis.curves import bar_look, goodput_curves, invalid_handles, plain_log_ticks, quartiles
from analysis.layout import Grid, Texts, draw_frame, wrap_label
from analysis.sweep import Sweep, brief, counted

ROW_INCHES, LABEL_INCHES = 0.5, 2.45
LEAST_SHARE = 0.1  # of the longest bar, for a number to be written in it
LEAST_GAP_S = 1e-3  # shorter ones are drawn here
CHANGES = {"lost": ("v", "coverage lost"), "gained": ("^", "coverage gained"),
           "overall": ("o", "longest in the run")}  # fmt: skip
SHORT = {"lost": "lost: ", "gained": "gained: ", "overall": ""}
Floats = npt.NDArray[np.float64]


def handover_gaps_figure(sweep: Sweep, handover_gaps: pd.DataFrame) -> Figure:
    """Draw every handover gap as a point, with medians and the longest of each cell.

    Args:
        handover_gaps: the derived table of all runs, with run_dir.
    """
    gaps = usable_gaps(handover_gaps)
    notes = ["A handover gap is the longest time without goodput that begins between 0.5 s before "
             "and 10 s after a change of coverage; one that began before that counts once, where "
             "it began. Runs without a change show their longest time without goodput.",
             *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles = [Line2D([], [], linestyle="", marker=mark, color=style.MUTED, label=label)
                   for name, (mark, label) in CHANGES.items()
                   if len(gaps) and (gaps["change"] == name).any()]  # fmt: skip
        handles += [Line2D([], [], color=style.INK, linewidth=2.2, label="median of its kind")]
        handles += [Line2D([], [], color=style.INK, linewidth=0.9, label="longest")]
        handles += invalid_handles(sweep, True, False)
        has_changes = len(gaps) and (gaps["change"] != "overall").any()
        what = "Handover gaps" if has_changes else "Longest times without goodput"
        title = f"{what} of the {sweep.facts.subject or 'runs'}"
        figure, axes = _rows(sweep, title, notes, handles)
        axes.set_xscale("log")
        for place, cell in enumerate(sweep.cells):
            _draw_gaps(axes, place, cell, gaps)
        _log_limits(axes, gaps["gap_delivered_s"] if len(gaps) else pd.Series([0.1, 10.0]))
        axes.set_xlabel("time without goodput (s), logarithmic")
    return figure


def usable_gaps(handover_gaps: pd.DataFrame) -> pd.DataFrame:
    """Return the gaps at changes, and of runs without a change the longest of all.

    A gap of 0 is one that began earlier and is counted there.
    """
    if not len(handover_gaps):
        return handover_gaps
    changed = set(handover_gaps.loc[handover_gaps["change"] != "overall", "run_dir"])
    is_overall = handover_gaps["change"] == "overall"
    is_wanted = is_overall != handover_gaps["run_dir"].isin(changed)
    return handover_gaps[is_wanted & (handover_gaps["gap_delivered_s"] > 0)]


def bytes_per_path_figure(sweep: Sweep) -> Figure:
    """Draw what each path brought: a stacked bar per cell, the mean of its usable runs."""
    notes = ["Application bytes by the path that brought them first, each counted once; mean of "
             "the usable runs, of the invalid ones where there is no other.",
             *sweep.caveats()]  # fmt: skip
    with style.settings():
        looks = [style.path_style(path, at) for at, path in enumerate(sweep.facts.paths)]
        handles: list[Any] = [Patch(color=look.colour, label=f"over {look.label}")
                              for look in looks]  # fmt: skip
        title = f"Bytes per path of the {sweep.facts.subject or 'runs'}"
        figure, axes = _rows(sweep, title, notes, handles + invalid_handles(sweep, False, True))
        columns = [f"bytes_{path}" for path in sweep.facts.paths]
        longest = max(_mean_mb(cell.runs, columns) for cell in sweep.cells)
        for place, cell in enumerate(sweep.cells):
            _draw_bytes(axes, place, cell, sweep.facts.paths, longest * LEAST_SHARE)
        axes.set_xlim(left=0)
        axes.set_xlabel("application bytes (MB)")
    return figure


def goodput_figure(sweep: Sweep) -> Figure:
    """Draw the goodput: against a number that varies, or as a bar per cell."""
    key = numeric_key(sweep.cells)
    return goodput_bars(sweep) if key is None else goodput_curves(sweep, key)


def goodput_bars(sweep: Sweep) -> Figure:
    """Draw the median goodput of each cell as a bar, its quartiles and its runs as points."""
    notes = ["Goodput: application bytes per download time. Bars are medians of the usable runs, "
             "lines reach from the first to the third quartile, points are runs.",
             *sweep.caveats()]  # fmt: skip
    with style.settings():
        title = f"Goodput of the {sweep.facts.subject or 'runs'}"
        figure, axes = _rows(sweep, title, notes, invalid_handles(sweep, True, True))
        for place, cell in enumerate(sweep.cells):
            _draw_goodput_bar(axes, place, cell)
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.set_xlabel("goodput (Mbit/s)")
    return figure


def _rows(sweep: Sweep, title: str, notes: list[str], handles: list[Any]) -> tuple[Figure, Axes]:
    """Return a figure with one row per cell, the first at the top."""
    grid = Grid(max(ROW_INCHES * len(sweep.cells), 1.0), left=LABEL_INCHES, right=0.35)
    figure, [[axes]] = draw_frame(Texts(title, sweep.subtitle(), notes, handles), grid)
    axes.set_ylim(len(sweep.cells) - 0.5, -0.5)
    labels = [_row_label(cell) for cell in sweep.cells]
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)
    return figure, axes


def _row_label(cell: Cell) -> str:
    """Return a cell's name and how many runs its numbers come from."""
    usable, others = len(cell.usable), len(cell.runs) - len(cell.usable)
    count = f"n = {counted(usable, 'run')}" + (f", {others} not usable" if others else "")
    return f"{wrap_label(cell.label or 'all runs', 34)}\n{count}"


def _draw_gaps(axes: Axes, place: int, cell: Cell, gaps: pd.DataFrame) -> None:
    good = _gaps_of(gaps, cell.usable)
    for rows, is_usable in ((_gaps_of(gaps, cell.invalid), False), (good, True)):
        heights = place + 0.13 * (np.arange(len(rows)) % 5 - 2) / 2 + 0.12
        for name, (mark, _) in CHANGES.items():
            chosen = (rows["change"] == name).to_numpy() if len(rows) else np.zeros(0, bool)
            seconds = rows["gap_delivered_s"].to_numpy(float) if len(rows) else np.zeros(0)
            axes.plot(np.maximum(seconds[chosen], LEAST_GAP_S), heights[chosen], linestyle="",
                      marker=mark if is_usable else "x", markersize=5.5, alpha=0.85, zorder=3,
                      color=cell.look.colour if is_usable else style.INVALID.colour,
                      markeredgewidth=0.4 if is_usable else 1.0,
                      markeredgecolor=style.INK if is_usable else None)  # fmt: skip
    if not len(good):
        axes.text(0.01, place + 0.12, "no gap of a usable run", fontsize=7.5, color=style.MUTED,
                  va="center", transform=axes.get_yaxis_transform())  # fmt: skip
        return
    _summarise_gaps(axes, place, good)


def _summarise_gaps(axes: Axes, place: int, gaps: pd.DataFrame) -> None:
    """Mark the median of each kind of gap and the longest of all, and write them down."""
    texts, height = [], [place - 0.12, place + 0.34]
    for kind, start in SHORT.items():
        seconds = gaps.loc[gaps["change"] == kind, "gap_delivered_s"].to_numpy(float)
        if seconds.size:
            middle = float(np.median(seconds))
            axes.plot([middle] * 2, height, color=style.INK, linewidth=2.2, zorder=4)
            texts.append(f"{start}n = {seconds.size}, median {brief(middle)} s")
    most = float(gaps["gap_delivered_s"].max())
    axes.plot([most] * 2, height, color=style.INK, linewidth=0.9, zorder=4)
    text = "  ·  ".join([*texts, f"max {brief(most)} s"])
    axes.text(0.995, place - 0.28, text, fontsize=7.5, color=style.MUTED, ha="right", va="center",
              transform=axes.get_yaxis_transform())  # fmt: skip


def _gaps_of(gaps: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    return gaps[gaps["run_dir"].isin(runs["run_dir"])] if len(gaps) else gaps


def _log_limits(axes: Axes, seconds: pd.Series) -> None:
    """Set limits that hold every point, and ticks that are plain numbers."""
    low = max(float(seconds.min()), LEAST_GAP_S)
    axes.set_xlim(low / 1.6, max(float(seconds.max()), low * 5) * 1.5)
    plain_log_ticks(axes)


def _draw_bytes(
    axes: Axes, place: int, cell: Cell, paths: tuple[str, ...], least_mb: float
) -> None:
    is_usable = len(cell.usable) > 0
    runs = cell.usable if is_usable else cell.invalid
    floor, total = 0.0, _mean_mb(runs, [f"bytes_{path}" for path in paths])
    for number, path in enumerate(paths):
        size = _mean_mb(runs, [f"bytes_{path}"])
        look = style.path_style(path, number)
        axes.barh(place, size, 0.52, left=floor, zorder=2, **bar_look(look.colour, is_usable))
        if size > 0 and size >= least_mb:
            share = f"{size / total:.0%}"
            axes.text(floor + size / 2, place, share, fontsize=8, ha="center", va="center",
                      color=style.INK, zorder=4,
                      bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none",
                            "alpha": 0.8})  # fmt: skip
        floor += size
    text = f" {total:.1f} MB" if is_usable else f" invalid: {total:.1f} MB"
    axes.text(floor, place, text if len(runs) else " no data", fontsize=8, va="center",
              color=style.MUTED if is_usable else style.ALARM, zorder=4)  # fmt: skip
    axes.update_datalim([(floor * 1.12, place)])
    axes.autoscale_view(scaley=False)


def _mean_mb(runs: pd.DataFrame, columns: list[str]) -> float:
    known = [column for column in columns if column in runs]
    if not len(runs) or not known:
        return 0.0
    return float(runs[known].astype("float64").fillna(0).sum(axis=1).mean()) / 1e6


def _draw_goodput_bar(axes: Axes, place: int, cell: Cell) -> None:
    is_usable = len(cell.usable) > 0
    middle, low, high = quartiles(cell.usable if is_usable else cell.invalid)
    for runs, mark in ((cell.usable, "o"), (cell.invalid, "x")):
        values = runs["goodput_mbps"].astype("float64").to_numpy()
        axes.plot(values, np.full(values.size, place + 0.12), linestyle="", marker=mark,
                  markersize=4.5, zorder=4, markeredgewidth=0.9, color=style.INK,
                  markerfacecolor="white")  # fmt: skip
    if np.isnan(middle):
        axes.text(0.01, place, "no data", fontsize=8, color=style.MUTED, va="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
        return
    axes.barh(place, middle, 0.52, zorder=2, **bar_look(cell.look.colour, is_usable))
    if len(cell.usable) > 1:
        axes.plot([low, high], [place - 0.1] * 2, color=style.INK, linewidth=1.4, zorder=3,
                  marker="|", markersize=6)  # fmt: skip
    right = max(high, float(cell.runs["goodput_mbps"].astype("float64").max()))
    text = f"{middle:.2f} Mbit/s" if is_usable else f"invalid: {middle:.2f} Mbit/s"
    axes.annotate(text, (right, place), (7, 0), textcoords="offset points", fontsize=8,
                  va="center", color=style.INK if is_usable else style.ALARM)  # fmt: skip
    axes.update_datalim([(right * 1.1, place)])
