# SPDX-License-Identifier: Apache-2.0
"""Draw what the application read past an interfering middlebox, against what was sent to it."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import interference, style
from analysis.interference_words import BEHAVIOURS
from analysis.layout import Grid, Texts, draw_frame
from analysis.sweep import brief
from analysis.tables import Frames

READ, CHANGED, DECIDED = "#0072B2", "#E69F00", "#D55E00"


def run_figure(frames: Frames, warning: str = "") -> Figure:
    """Draw the bytes that were read by then, the file's size, and when the middlebox did what.

    Args:
        warning: why the run is not valid, "" if it is.
    """
    workload, seen = frames.run["workload"], interference.evidence(frames)
    outcome = interference.outcome(frames)
    took_s = interference.outcome_s(frames, outcome, seen.first_ns)
    words = BEHAVIOURS.get(workload["behaviour"])
    title = f"The middlebox {words.does if words else workload['behaviour']}: {outcome}"
    subtitle = f"{workload['behaviour']}  ·  seed {frames.run.get('seed')}  ·  {seen.said}"
    with style.settings():
        handles = _handles(seen.first_ns, took_s)
        figure, [[axes]] = draw_frame(Texts(title, subtitle, _notes(warning), handles), Grid(2.6))
        _draw(axes, frames.reads, workload["file_bytes"] / 1e6)
        if seen.first_ns is not None:
            axes.axvline(seen.first_ns / 1e9, color=CHANGED, linewidth=1.2)
            if took_s is not None:
                axes.axvline(seen.first_ns / 1e9 + took_s, color=DECIDED, linewidth=1.2,
                             linestyle=(0, (4, 1.6)))  # fmt: skip
    return figure


def _notes(warning: str) -> list[str]:
    note = "Read by the receiving application; the stream is whole if the line ends at the size."
    return [note, *([warning] if warning else [])]


def _handles(first_ns: int | None, took_s: float | None) -> list[Line2D]:
    found = [
        Line2D([], [], color=READ, label="read by the application"),
        Line2D([], [], color=style.MUTED, linestyle=(0, (1, 1.2)), label="size of the file"),
    ]
    if first_ns is not None:
        found.append(Line2D([], [], color=CHANGED, label="first changed segment"))
        if took_s is not None:
            label = f"outcome, {brief(took_s * 1e3)} ms later" if took_s >= 1e-6 else "outcome"
            found.append(Line2D([], [], color=DECIDED, linestyle=(0, (4, 1.6)), label=label))
    return found


def _draw(axes: Axes, reads: pd.DataFrame, size_mb: float) -> None:
    steps = reads["bytes"].cumsum() / 1e6
    axes.step([0.0, *reads["t_s"]], [0.0, *steps], where="post", color=READ, linewidth=1.5)
    axes.axhline(size_mb, color=style.MUTED, linewidth=1.0, linestyle=(0, (1, 1.2)))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("read (MB)")
