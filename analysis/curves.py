# SPDX-License-Identifier: Apache-2.0
"""Draw curves over all runs: against a number that varies, and distributions."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis import style
from analysis.cells import Cell, quantity, series_of, short_key
from analysis.layout import Grid, Texts, draw_frame
from analysis.sweep import Sweep

CURVE_POINTS = 1000  # of a distribution
HATCH = "////"
Floats = npt.NDArray[np.float64]


def goodput_curves(sweep: Sweep, key: str) -> Figure:
    """Draw the median goodput against the values of a key, a curve per series of cells."""
    notes = ["Goodput: application bytes per download time. Curves join medians of the usable "
             "runs, bars reach from the first to the third quartile, points are runs.",
             *sweep.caveats()]  # fmt: skip
    series = series_of(sweep.cells, key)
    scale, unit = axis_unit([cell.values[key] for cell in sweep.cells])
    with style.settings():
        handles = [Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                          label=label)
                   for label, look, _ in series if label]  # fmt: skip
        title = f"Goodput of the {sweep.facts.subject or 'runs'} by {short_key(key)}"
        texts = Texts(title, sweep.subtitle(), notes, handles + invalid_handles(sweep, True, False))
        figure, [[axes]] = draw_frame(texts, Grid(3.4))
        numbers: list[float] = []
        for _, look, cells in series:
            found = [quantity(cell.values[key]) or (0.0, "") for cell in cells]
            at = [value / scale for value, _ in found]
            numbers += at
            _draw_goodput_curve(axes, at, cells, look)
        if min(numbers) > 0 and max(numbers) / min(numbers) >= 10:
            axes.set_xscale("log")
        axes.set_xticks(sorted(set(numbers)), [f"{x:g}" for x in sorted(set(numbers))])
        axes.minorticks_off()
        axes.set_ylim(0, max(axes.dataLim.y1 * 1.1, 0.1) if axes.has_data() else 1)
        axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5)
        axes.set_xlabel(key + (f" ({unit})" if unit else ""))
        axes.set_ylabel("goodput (Mbit/s)")
    return figure


def latency_figure(sweep: Sweep, blocks: pd.DataFrame) -> Figure:
    """Draw the distribution of the latency of application blocks, a curve per cell.

    Args:
        blocks: the derived table of all runs, with run_dir and latency_ms.
    """
    notes = ["From when a block was written to when it was read; all blocks of a cell's usable "
             "runs together.", *sweep.caveats()]  # fmt: skip
    with style.settings():
        drawn: list[tuple[Cell, Floats]] = []
        for cell in sweep.cells:
            mine = blocks["run_dir"].isin(cell.usable["run_dir"])
            values = np.sort(blocks.loc[mine, "latency_ms"].to_numpy(float))
            drawn += [(cell, values)] if values.size else []
        handles = [Line2D([], [], color=cell.look.colour, linestyle=cell.look.line, linewidth=1.8,
                          label=f"{cell.label or 'all runs'} (n = {values.size:,} blocks)")
                   for cell, values in drawn]  # fmt: skip
        title = f"Application latency of the {sweep.facts.subject or 'runs'}"
        figure, [[axes]] = draw_frame(Texts(title, sweep.subtitle(), notes, handles), Grid(3.2))
        for cell, values in drawn:
            share = np.linspace(0, 1, min(CURVE_POINTS, values.size + 1))
            axes.plot(np.quantile(values, share), share, color=cell.look.colour,
                      linestyle=cell.look.line, linewidth=1.8)  # fmt: skip
        if drawn and min(values[0] for _, values in drawn) > 0:
            axes.set_xscale("log")
            plain_log_ticks(axes)
        axes.set_ylim(0, 1)
        axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.5)
        axes.set_xlabel("latency of a block (ms)")
        axes.set_ylabel("fraction of blocks")
    return figure


def plain_log_ticks(axes: Axes) -> None:
    """Write the numbers of a logarithmic axis without exponents, and 2 and 5 of each decade."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def invalid_handles(sweep: Sweep, has_points: bool, has_bars: bool) -> list[Any]:
    """Return the legend's entries for runs that are not to be trusted, as far as there are any."""
    handles: list[Any] = []
    if has_points and any(len(cell.invalid) for cell in sweep.cells):
        grey = style.INVALID.colour
        handles += [Line2D([], [], linestyle="", marker="x", color=grey, label="invalid run")]
    if has_bars and any(len(cell.invalid) and not len(cell.usable) for cell in sweep.cells):
        handles += [Patch(label="invalid runs only", **bar_look("", False))]
    return handles


def bar_look(colour: str, is_usable: bool) -> dict[str, Any]:
    """Return how a bar is drawn: plain, or grey and hatched."""
    if is_usable:
        return {"color": colour, "linewidth": 0}
    return {"facecolor": "#E4E4E4", "edgecolor": style.INVALID.colour, "hatch": HATCH,
            "linewidth": 0.8}  # fmt: skip


def quartiles(runs: pd.DataFrame) -> tuple[float, float, float]:
    """Return median, first and third quartile of the goodput; nan without numbers."""
    values = runs["goodput_mbps"].astype("float64").dropna().to_numpy()
    if not values.size:
        return float("nan"), float("nan"), float("nan")
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)


def _draw_goodput_curve(axes: Axes, at: list[float], cells: list[Cell], look: Any) -> None:
    points = [quartiles(cell.usable) for cell in cells]
    middles = [middle for middle, _, _ in points]
    axes.plot(at, middles, color=look.colour, linestyle=look.line, linewidth=1.8, zorder=3,
              marker=look.marker, markersize=6)  # fmt: skip
    for x, (_, low, high), cell in zip(at, points, cells, strict=True):
        axes.plot([x, x], [low, high], color=look.colour, linewidth=1.2, zorder=2, marker="_")
        for runs, mark, colour in ((cell.usable, ".", look.colour),
                                   (cell.invalid, "x", style.INVALID.colour)):  # fmt: skip
            values = runs["goodput_mbps"].astype("float64").to_numpy()
            axes.plot(np.full(values.size, x), values, linestyle="", marker=mark, markersize=5,
                      color=colour, alpha=0.8, zorder=4)  # fmt: skip


def axis_unit(texts: list[str]) -> tuple[float, str]:
    """Return the unit for an axis, with its factor: the smallest of those that values have."""
    units = {text.strip().lstrip("-0123456789.eE+").strip() for text in texts}
    known = [(one[0], name) for name in units if (one := quantity(f"1 {name}"))]
    if len(known) == len(units):
        return min(known)
    found = quantity(texts[0])
    return 1.0, found[1] if found else ""
