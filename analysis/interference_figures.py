# SPDX-License-Identifier: Apache-2.0
"""Draw the table of what middleboxes do to MPTCP: a row per behaviour."""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis import style
from analysis.interference import FALLS_BACK, LOST, RESET, SURVIVES
from analysis.interference_words import BEHAVIOURS, NOT_REPORTED, Words
from analysis.layout import WIDTH, Grid, Texts, draw_frame
from analysis.sweep import Sweep, brief

# Light shades of Okabe and Ito's colours, dark text on them.
SHADES = {SURVIVES: "#CFEBDD", FALLS_BACK: "#CCE3F0", RESET: "#FBE6BF", LOST: "#F5D0C0"}
LEFT, LINE_INCHES, PAD_INCHES, SIZE = 0.2, 0.118, 0.085, 6.8
CHARACTERS_PER_INCH = 18.5

# Heading and width in inches.
COLUMNS = (
    ("middlebox", 1.42),
    ("outcome", 0.86),
    ("counters (rise)", 1.62),
    ("time", 0.5),
    ("how common", 1.12),
    ("Linux v0", 0.72),
    ("explanation", 2.36),
)
NOTES = (
    "Outcome: of the connection. Time: from the first segment that came out changed until the "
    "subflow was reset, or until the ends that fell back had sent a segment without MPTCP.",
    "How common: paths, by Raiciu et al. (NSDI 2012, section 3) after Honda et al. (IMC 2011, 142 "
    "networks), quoted from memory: look them up before you cite them. Linux v0: tests with "
    "MBtest, by the draft of RFC 8041. Neither was measured here.",
)


def interference_figure(sweep: Sweep, summaries: dict[str, dict[str, Any]]) -> Figure:
    """Draw the table.

    Args:
        summaries: of the runs, by run_dir.
    """
    rows = table_rows(sweep, summaries)
    texts = [[_wrapped(text, width) for text, (_, width) in zip(row, COLUMNS, strict=True)]
             for row in rows]  # fmt: skip
    heights = [_height(row) for row in texts]
    body = sum(heights) + 0.25
    with style.settings():
        notes = [*NOTES, *sweep.caveats()]
        grid = Grid(body, left=LEFT, right=LEFT, head=0.05)
        frame = Texts(
            "What becomes of MPTCP past an interfering middlebox", sweep.subtitle(), notes
        )
        figure, [[axes]] = draw_frame(frame, grid)
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH - 2 * LEFT)
        axes.set_ylim(body, 0)
        _draw_head(axes)
        top = 0.25
        for row, height in zip(texts, heights, strict=True):
            _draw_row(axes, row, top, height)
            top += height
    return figure


def table_rows(sweep: Sweep, summaries: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return the texts of each row, in the order in which behaviours are explained."""
    found = []
    for cell in sweep.cells:
        runs = [summaries.get(name, {}) for name in _run_dirs(cell.usable)]
        told = next((run for run in runs if run.get("behaviour")), None)
        if told is not None:
            found.append((told["behaviour"], _row(told, runs)))
    order = [*BEHAVIOURS]
    found.sort(key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order))
    return [row for _, row in found]


def _run_dirs(runs: pd.DataFrame) -> list[str]:
    return [str(name) for name in runs["run_dir"]]


def _row(told: dict[str, Any], runs: list[dict[str, Any]]) -> list[str]:
    words = BEHAVIOURS.get(told["behaviour"], Words(told["behaviour"], {}))
    alike = sum(run.get("outcome") == told["outcome"] for run in runs)
    outcome = told["outcome"] + (f" ({alike} of {len(runs)} runs)" if len(runs) > 1 else "")
    return [
        words.does,
        outcome,
        "; ".join(told["proof"]),
        _time(told["outcome_s"]),
        words.common,
        words.before,
        _explanation(told),
    ]


def _explanation(told: dict[str, Any]) -> str:
    text = told["explanation"] or "no explanation is known of this outcome"
    if told["sha256_ok"]:
        return f"{text}."
    sent, got = told["sent_bytes"], told["received_bytes"]
    if sent == got:
        return f"{text}. The content is not what was sent."
    again = told.get("repeated_bytes")
    more = f"; {again:,} were sent again as new data" if again else ""
    return f"{text}. {got or 0:,} bytes arrived instead of {sent:,}{more}."


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "at once" if seconds < 1e-6 else f"{brief(seconds * 1e3)} ms"


def _wrapped(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, int(width * CHARACTERS_PER_INCH)) or [""]


def _height(texts: list[list[str]]) -> float:
    return max(len(lines) for lines in texts) * LINE_INCHES + PAD_INCHES


def _draw_head(axes: Axes) -> None:
    x = 0.0
    for heading, width in COLUMNS:
        axes.text(x + 0.04, 0.1, heading, fontsize=SIZE + 0.4, weight="bold", va="center",
                  color=style.INK)  # fmt: skip
        x += width


def _draw_row(axes: Axes, row: list[list[str]], top: float, height: float) -> None:
    axes.plot([0, WIDTH - 2 * LEFT], [top, top], color=style.FAINT, linewidth=0.4)
    x = 0.0
    for (heading, width), lines in zip(COLUMNS, row, strict=True):
        text = "\n".join(lines)
        if heading == "outcome":
            shade = next((s for name, s in SHADES.items() if " ".join(lines).startswith(name)), "")
            if shade:
                box = Rectangle((x, top), width - 0.04, height, facecolor=shade, linewidth=0)
                axes.add_patch(box)
        colour = style.FAINT if text.replace("\n", " ") == NOT_REPORTED else style.INK
        axes.text(x + 0.04, top + PAD_INCHES / 2, text, fontsize=SIZE, va="top", color=colour,
                  linespacing=1.15)  # fmt: skip
        x += width
