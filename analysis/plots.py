# SPDX-License-Identifier: Apache-2.0
"""Draw figures: tables in, Figure out; no file and no global state of matplotlib is touched."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import metrics, ride, style, wording
from analysis.tables import RX, Frames

FIGURE_INCHES = (9.0, 4.6)
MARGINS = {"left": 0.075, "right": 0.985, "top": 0.80, "bottom": 0.185}
BIN_WIDTHS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)
MAX_BINS = 300


def throughput_figure(frames: Frames, bin_s: float | None = None, warning: str = "") -> Figure:
    """Draw what each interface received over time, as stacked areas.

    Behind it the coverage of the path that comes and goes is shaded, and a thin line shows what a
    link that follows a trace offered.

    Args:
        frames: one run.
        bin_s: width of the bins in seconds; by default a round number that makes at most 300.
        warning: a sentence to print in the figure, why the run is not to be trusted.
    """
    span = metrics.download_span(frames)
    end_s = max(span[1], 1e-2)
    bin_s = bin_s or next((w for w in BIN_WIDTHS_S if end_s / w <= MAX_BINS), end_s / MAX_BINS)
    with style.settings():
        figure = Figure(figsize=FIGURE_INCHES)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        figure.subplots_adjust(**MARGINS)
        handles = _draw_coverage(axes, frames, end_s)
        handles += _draw_areas(axes, frames, end_s, bin_s)
        handles += _draw_offered(axes, frames, end_s, bin_s)
        handles += _draw_stalls(axes, frames)
        _label_axes(axes, end_s, handles)
        _write_texts(figure, titles(frames, span), caveats(frames, bin_s), warning)
    return figure


def _write_texts(figure: Figure, heading: tuple[str, str], notes: list[str], warning: str) -> None:
    """Write the title, the line below it, the footnote and, large enough, the warning."""
    left, right = MARGINS["left"], MARGINS["right"]
    title, subtitle = heading
    figure.text(left, 0.955, title, fontsize=11.5, color=style.INK, va="center", weight="bold")
    figure.text(left, 0.905, subtitle, fontsize=8.5, color=style.FAINT, va="center")
    note = figure.text(left, 0.035, "\n".join(notes), fontsize=7, color=style.FAINT, va="center")
    note.set_linespacing(1.35)
    if warning:
        text = textwrap.fill(warning, 52, max_lines=3, placeholder=" ...")
        figure.text(right, 0.93, text, fontsize=8.5, color=style.ALARM, ha="right", va="center")


def _draw_areas(axes: Axes, frames: Frames, end_s: float, bin_s: float) -> list[Any]:
    """Draw the stacked areas of received throughput; return the legend's handles."""
    table = metrics.throughput(frames.traffic, end_s, bin_s)
    table = table[table["direction"] == RX]
    edges = metrics.bin_edges(end_s, bin_s)
    floor, handles = np.zeros(edges.size), []
    for place, path in enumerate(wording.path_order(frames.run)):
        rows = table.loc[table["path"] == path, "throughput_mbps"].to_numpy()
        values = np.append(rows, rows[-1]) if rows.size else np.zeros(edges.size)
        look = style.path_style(path, place)
        axes.fill_between(edges, floor, floor + values, step="post", color=look.colour,
                          linewidth=0, alpha=0.9, zorder=2)  # fmt: skip
        handles.append(Patch(color=look.colour, label=f"over {look.label}"))
        floor = floor + values
    axes.set_ylim(0, max(float(floor.max()) * 1.12, 0.1))
    return handles[::-1]


def _draw_offered(axes: Axes, frames: Frames, end_s: float, bin_s: float) -> list[Any]:
    """Draw what each trace-driven link offered, from the bottom of its path's area."""
    handles = []
    edges = metrics.bin_edges(end_s, bin_s)
    for link in ride.access_links(frames.run):
        if not (link.rx.get("trace") or {}).get("opportunities_ms"):
            continue
        delay_s = float(link.rx.get("one_way_delay_s") or 0)
        offered = ride.capacity_bytes(link.rx, np.maximum(edges - delay_s, 0)) * 8 / bin_s / 1e6
        axes.step(edges, np.append(offered, offered[-1]), where="post", color=style.INK,
                  linewidth=0.7, zorder=3)  # fmt: skip
        label = f"offered by {style.path_style(link.path).label}"
        handles.append(Line2D([], [], color=style.INK, linewidth=0.7, label=label))
        axes.set_ylim(0, max(axes.get_ylim()[1], float(offered.max()) * 1.12))
    return handles


def _draw_stalls(axes: Axes, frames: Frames) -> list[Any]:
    """Mark on the time axis when the application could read nothing, though packets may come."""
    gaps = metrics.stalls(frames.delivered)
    if gaps:  # one line, broken between the stalls, for there may be thousands
        times = [(gap.start_s, gap.start_s + gap.length_s, np.nan) for gap in gaps]
        axes.plot(np.ravel(times), np.zeros(3 * len(gaps)), color=style.ALARM, linewidth=3.5,
                  solid_capstyle="butt", zorder=5, clip_on=False)  # fmt: skip
    label = f"application stalled ({metrics.STALL_S:g} s or more)"
    return [Line2D([], [], color=style.ALARM, linewidth=3.5, label=label)] if gaps else []


def _draw_coverage(axes: Axes, frames: Frames, end_s: float) -> list[Any]:
    """Shade when each path that comes and goes was covered, and number the stations."""
    handles = []
    for coverage in ride.coverages(frames.run):
        label = f"{style.path_style(coverage.path).label} coverage, station n"
        handles.append(Patch(facecolor=style.COVERAGE, label=label))
        for number, (first, last) in enumerate(coverage.spans, 1):
            first, last = max(first, 0.0), min(last, end_s)
            if first >= last:
                continue
            axes.axvspan(first, last, color=style.COVERAGE, linewidth=0, zorder=0)
            axes.text((first + last) / 2, 0.985, str(number), fontsize=8, color=style.FAINT,
                      ha="center", va="top", transform=axes.get_xaxis_transform(),
                      zorder=4)  # fmt: skip
    return handles


def _label_axes(axes: Axes, end_s: float, handles: list[Any]) -> None:
    axes.set_xlim(0, end_s)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("throughput, IP bytes (Mbit/s)")
    axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5, zorder=1)
    axes.set_axisbelow(False)
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.006, 0.995), ncols=5,
                fontsize=8, handlelength=1.4, columnspacing=1.6, borderpad=0.3)  # fmt: skip


def titles(frames: Frames, span: tuple[float, float]) -> tuple[str, str]:
    """Return the title, which says what was done, and the line below it, which says how."""
    run, manifest = frames.run, frames.manifest
    seconds = span[1] - span[0]
    goodput = float(frames.delivered["bytes"].sum()) * 8e-6 / seconds if seconds > 0 else 0.0
    kernel = (manifest.get("kernel") or {}).get("release", "?")
    parts = [
        f"goodput {goodput:.2f} Mbit/s in {seconds:.1f} s",
        "n = 1 run",
        f"seed {manifest.get('seed', run.get('seed', '?'))}",
        f"backend {manifest.get('backend', '?')}",
        f"Linux {kernel}",
    ]
    return wording.title(run), "  ·  ".join(parts)


def caveats(frames: Frames, bin_s: float) -> list[str]:
    """Return what a reader must know before trusting the figure, at most two lines."""
    control = wording.describe_control(wording.control_of(frames.run) or "default")
    first = f"Bins of {bin_s:g} s, measured at the receiving interfaces. "
    first += f"Congestion control {control}. "
    first += f"Experiment {frames.run.get('experiment', '?')}, run {frames.run_id}."
    return [first, " ".join(wording.models(frames.run))]
