# SPDX-License-Identifier: Apache-2.0
"""Draw what middleboxes got to see of a connection over time, against all of it."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.layout import Grid, Texts, draw_frame
from analysis.sweep import Sweep, brief
from analysis.time_axes import MAX_PANELS, finish_time_axes
from analysis.timelines import examples

LINES: dict[str, tuple[str, str, Any]] = {
    "access": ("all that reached the client", style.INK, "-"),
    "m1": ("sent on by m1", "#CC79A7", "-"),
    "m2": ("sent on by m2", "#0072B2", (0, (4, 1.6))),
}

LOG = "m1 log"
LOG_EVERY = 10  # samples
CHATTER_BYTES = 10_000


def middlebox_figure(sweep: Sweep, seen: pd.DataFrame) -> Figure:
    """Draw one run of every cell: IP bytes at the client and at the middleboxes by then.

    Args:
        seen: the derived table of all runs, with run_dir.
    """
    chosen = examples(sweep)[:MAX_PANELS]
    columns = 1 if len(chosen) < 2 else 2
    grid = Grid(1.5, max(math.ceil(len(chosen) / columns), 1), columns, gap_y=0.5, head=0.36)
    notes = ["One run of each cell: the first that is usable. IP bytes that left a middlebox, in "
             "both directions, and that reached the client.", *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles = [Line2D([], [], color=colour, linestyle=line, label=label)
                   for link, (label, colour, line) in LINES.items()
                   if _carried(seen, link)]  # fmt: skip
        if (seen["link"] == LOG).any():
            label = "logged by the inspector at m1"
            handles.append(Line2D([], [], color=LINES["m1"][1], linestyle="", marker="o",
                                  markersize=3.5, label=label))  # fmt: skip
        texts = Texts("What the middleboxes got to see", sweep.subtitle(), notes, handles)
        figure, axes = draw_frame(texts, grid)
        places = [place for row in axes for place in row]
        for place, (cell, row) in zip(places, chosen, strict=False):
            _draw(place, seen[seen["run_dir"] == row["run_dir"]])
            gap = row.get("gap_s")
            said = "" if gap is None or pd.isna(gap) else f"gap at the change {brief(float(gap))} s"
            place.set_title(f"{cell.label or 'run'}\n{said}", fontsize=8.5, loc="left", pad=3)
        end_s = float(seen["t_s"].max()) if len(seen) else 1.0
        finish_time_axes(axes, end_s, "MB", len(chosen), places)
    return figure


def _draw(axes: Axes, seen: pd.DataFrame) -> None:
    for link, (_, colour, line) in LINES.items():
        rows = seen[seen["link"] == link]
        if _carried(seen, link):
            base = rows["delivered_bytes"].iloc[0]
            axes.plot(rows["t_s"], (rows["delivered_bytes"] - base) / 1e6, color=colour,
                      linestyle=line, linewidth=1.5, zorder=3)  # fmt: skip
    log = seen[seen["link"] == LOG][::LOG_EVERY]
    axes.plot(log["t_s"], log["delivered_bytes"] / 1e6, color=LINES["m1"][1], linestyle="",
              marker="o", markersize=3.5, zorder=4)  # fmt: skip


def _carried(seen: pd.DataFrame, link: str) -> bool:
    """Say whether anything but the network's own chatter passed a link."""
    rows = seen.loc[seen["link"] == link, "delivered_bytes"]
    return bool(len(rows) and rows.max() - rows.min() > CHATTER_BYTES)
