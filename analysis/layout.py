# SPDX-License-Identifier: Apache-2.0
"""Lay out a figure in inches, so that title, legend, axes and footnotes never meet."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import style

WIDTH = 9.0
TITLE, LEGEND_ROW, NOTE_ROW, X_LABEL, EDGE = 0.64, 0.175, 0.135, 0.52, 0.12
NOTE_CHARACTERS, CHARACTER = 160, 0.068  # of a line of notes; width of one of the legend


@dataclass(frozen=True)
class Texts:
    """What is written around the axes: title, the line below it, footnotes and legend."""

    title: str
    subtitle: str
    notes: Sequence[str] = ()
    handles: Sequence[Any] = ()


@dataclass(frozen=True)
class Grid:
    """How the axes lie: rows and columns of them, the height of a row, and margins, in inches."""

    row_height: float
    rows: int = 1
    columns: int = 1
    left: float = 0.7
    right: float = 0.15
    gap_x: float = 0.3
    gap_y: float = 0.55
    head: float = 0.2  # between the legend and the axes
    is_shared: bool = True


def draw_frame(texts: Texts, grid: Grid) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with everything around its axes, and the axes row by row."""
    notes = [line for note in texts.notes for line in textwrap.wrap(note, NOTE_CHARACTERS)]
    columns = _legend_columns(texts.handles)
    head = TITLE + LEGEND_ROW * math.ceil(len(texts.handles) / columns) + grid.head
    foot = X_LABEL + NOTE_ROW * len(notes) + EDGE
    body = grid.rows * grid.row_height + (grid.rows - 1) * grid.gap_y
    height = head + body + foot
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    width = (WIDTH - grid.left - grid.right - (grid.columns - 1) * grid.gap_x) / grid.columns
    figure.subplots_adjust(
        left=grid.left / WIDTH, right=1 - grid.right / WIDTH,
        top=1 - head / height, bottom=foot / height,
        wspace=grid.gap_x / width, hspace=grid.gap_y / grid.row_height,
    )  # fmt: skip
    axes = figure.subplots(
        grid.rows, grid.columns, sharex=grid.is_shared, sharey=grid.is_shared, squeeze=False
    )
    _write(figure, texts, notes, columns)
    return figure, [list(row) for row in axes]


def _write(figure: Figure, texts: Texts, notes: list[str], columns: int) -> None:
    height = figure.get_figheight()
    left = 0.2 / WIDTH
    figure.text(left, 1 - 0.23 / height, texts.title, fontsize=11.5, color=style.INK,
                va="center", weight="bold")  # fmt: skip
    figure.text(left, 1 - 0.48 / height, texts.subtitle, fontsize=8, color=style.MUTED,
                va="center")  # fmt: skip
    for place, line in enumerate(reversed(notes)):
        figure.text(left, (EDGE + place * NOTE_ROW) / height, line, fontsize=7, color=style.MUTED,
                    va="bottom")  # fmt: skip
    if texts.handles:
        figure.legend(handles=list(texts.handles), loc="upper left", ncols=columns, fontsize=8,
                      bbox_to_anchor=(left, 1 - (TITLE - 0.02) / height), handlelength=2.6,
                      columnspacing=1.6, borderpad=0.1, borderaxespad=0, labelspacing=0.35,
                      labelcolor=style.INK)  # fmt: skip


def _legend_columns(handles: Sequence[Any]) -> int:
    """Return how many entries fit next to each other."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    return max(int((WIDTH - 0.4) / (longest * CHARACTER + 0.55)), 1)


def wrap_label(text: str, characters: int = 30) -> str:
    """Return a label in lines of at most that many characters."""
    return "\n".join(textwrap.wrap(text, characters, max_lines=3, placeholder=" ...")) or text
