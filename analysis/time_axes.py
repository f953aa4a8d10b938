# SPDX-License-Identifier: Apache-2.0
"""What figures over time have in common: axes, shaded stations and the legend."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.cells import cell_label
from analysis.ride import Coverage
from analysis.sweep import Sweep

MAX_PANELS = 12
HEADROOM = 1.15  # above the highest value, for the numbers of the stations


def shade_coverage(axes: Axes, alternatives: list[list[Coverage]], end_s: float) -> None:
    """Shade when each path that comes and goes was covered.

    Args:
        axes: where.
        alternatives: the coverages of one run, whose stations are numbered, or of several runs
            that differ: then it is darker where more of them were covered.
        end_s: of the time axis.
    """
    share = 1 / max(len(alternatives), 1)
    for coverage in (coverage for coverages in alternatives for coverage in coverages):
        for number, (first, last) in enumerate(coverage.spans, 1):
            first, last = max(first, 0.0), min(last, end_s)
            if first >= last:
                continue
            axes.axvspan(first, last, color=style.COVERAGE, linewidth=0, zorder=0, alpha=share)
            if share == 1:
                axes.text((first + last) / 2, 0.985, str(number), fontsize=7, color=style.MUTED,
                          ha="center", va="top", transform=axes.get_xaxis_transform(),
                          zorder=6)  # fmt: skip


def finish_time_axes(
    axes: list[list[Axes]], end_s: float, y_label: str, used: int, order: list[Axes] | None = None
) -> None:
    """Label the axes, and take away those that nothing was drawn in."""
    places = order or [place for row in axes for place in row]
    for place in places[max(used, 1) :]:
        place.remove()
    shown = places[: max(used, 1)]
    highest = max(place.dataLim.y1 for place in shown)
    top = highest * HEADROOM if np.isfinite(highest) and highest > 0 else 1.0
    for row in axes:
        for number, place in enumerate(row):
            place.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5, zorder=1)
            place.set_xlim(0, end_s)
            place.set_ylim(0, top)
            if number == 0:
                place.set_ylabel(y_label)
    for column in zip(*axes, strict=True):
        lowest = [place for place in column if place in shown]
        if lowest:
            lowest[-1].set_xlabel("time since the start of the run (s)")
            lowest[-1].tick_params(labelbottom=True)


def cell_handles(sweep: Sweep) -> list[Any]:
    """Return one legend entry per look that is used."""
    looks: dict[str, Any] = {}
    for cell in sweep.cells:
        modes = {"mode": cell.values["mode"]} if "mode" in cell.values else cell.values
        label = cell_label(modes) or cell.look.label
        looks[label] = Line2D([], [], color=cell.look.colour, linestyle=cell.look.line,
                              linewidth=1.8, marker=cell.look.marker, markersize=5,
                              label=label)  # fmt: skip
    return list(looks.values())


def path_handles(sweep: Sweep) -> list[Any]:
    """Return the legend's entry of each path, the top of the stack first."""
    looks = [style.path_style(path, place) for place, path in enumerate(sweep.facts.paths)]
    return [Patch(color=look.colour, label=f"over {look.label}") for look in looks[::-1]]


def coverage_handles(alternatives: list[list[Coverage]]) -> list[Any]:
    """Return the legend's entry of the shaded stations of each path that has some."""
    more = "station n" if len(alternatives) == 1 else "darker: in more runs"
    paths = dict.fromkeys(coverage.path for coverages in alternatives for coverage in coverages)
    return [
        Patch(facecolor=style.COVERAGE, label=f"{style.path_style(path).label} coverage, {more}")
        for path in paths
    ]
