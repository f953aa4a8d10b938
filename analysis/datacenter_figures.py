# SPDX-License-Identifier: Apache-2.0
"""Draw runs between the servers of a datacenter: against the share of active servers, against the
number of subflows, what lenders keep, and how busy the core is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.datacenter import CORE, IDLE_FRACTION
from analysis.layout import Grid, Texts, draw_frame
from analysis.oracle import analytic_pairs
from analysis.runs import Results
from analysis.sweep import Sweep
from analysis.tables import Frames
from analysis.wording import describe_control, title

SPARE_LOOKS = {0: ("#0072B2", "s"), 1: ("#009E73", "o"), 2: ("#E69F00", "^"), 3: ("#CC79A7", "D")}
LINES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)))
SERIES = ["spare_ports", "transport", "subflows", "cc", "rate_mbps"]  # of the figure by activity
DOTS = (0, (1, 1.5))
MAX_BARS = 512
CAPTIONS = {
    "active": "Throughput per active server, in NICs, by the share of servers that are active.",
    "subflows": "Goodput as a share of the optimum by the number of subflows.",
    "lenders": "What servers keep whose uplink a neighbour uses too.",
    "core": "How busy each direction of each link of the core is.",
}
NIC_NOTE = ("Goodput after the warm-up; 1 NIC is the rate of one port of a server, of which about "
            "5 % are headers.")  # fmt: skip


def figures(results: Results, sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that there are data for, by the name of their file."""
    runs = numbers_of(sweep)
    if not runs["goodput_nic"].notna().any():
        return
    if runs["active_fraction"].nunique() > 1:
        yield "active", active_figure(sweep, runs)
    if runs["subflows"].nunique() > 1 or runs["transport"].nunique() > 1:
        yield "subflows", subflows_figure(sweep, runs)
    if runs["lender_goodput_nic"].notna().any():
        yield "lenders", lenders_figure(sweep, runs)
    use = results.gather("link_use", columns=["link", "direction", "layer", "busy_fraction"])
    if len(use) and (use["layer"] == CORE).any():
        yield "core", core_figure(sweep, use)


def numbers_of(sweep: Sweep) -> pd.DataFrame:
    """Return the usable runs with their numbers as numbers."""
    runs = sweep.usable.copy()
    names = ("goodput_nic", "optimum_nic", "lender_goodput_nic", "active_fraction", "rate_mbps")
    for name in names:
        runs[name] = runs[name].astype("float64") if name in runs else np.nan
    return runs


def active_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw the goodput per active server against the fraction of active servers."""
    notes = [NIC_NOTE + " Curves join medians over the seeds, bands reach from the least to the "
             "greatest run.", "Thin lines: the best that servers' ports and cables allow, max-min "
             "fair, mean over the same permutations; dotted: 1 + (1 - f)\u00b2, what ports allow "
             "with one spare port in a large network.", *sweep.caveats()]  # fmt: skip
    keys = _varied(runs, SERIES)
    groups = _groups(runs, keys)
    with style.settings():
        text = Texts(f"Throughput per active server: {sweep.facts.subject}", sweep.subtitle(),
                     notes, _active_handles(runs, groups))  # fmt: skip
        figure, [[axes]] = draw_frame(text, Grid(3.6))
        for place, (_, rows) in enumerate(groups):
            _band(axes, rows, "active_fraction", "goodput_nic", _look(rows, place))
        for spare, rows in runs[runs["transport"] == "mptcp"].groupby("spare_ports"):
            means = rows.groupby("active_fraction")["optimum_nic"].mean()
            axes.plot(means.index, means, color=_colour(spare), linewidth=0.8, zorder=2)
        if (runs["spare_ports"] == 1).any():
            at = np.linspace(0.02, 1, 99)
            expected = [analytic_pairs(fraction) for fraction in at]
            axes.plot(at, expected, color=style.MUTED, linewidth=1.0, linestyle=DOTS, zorder=2)
        _finish(axes, "fraction of servers that are active", "goodput per active server (NIC)")
        axes.set_xlim(0, 1.02)
    return figure


def _active_handles(runs: pd.DataFrame, groups: list[tuple[str, pd.DataFrame]]) -> list[Any]:
    handles = [_handle(label, _look(rows, place)) for place, (label, rows) in enumerate(groups)]
    handles += [Line2D([], [], color=style.MUTED, linewidth=0.8, label="optimum, ideal core")]
    if (runs["spare_ports"] == 1).any():
        handles += [Line2D([], [], color=style.MUTED, linewidth=1.0, linestyle=DOTS,
                           label="1 + (1 - f)\u00b2")]  # fmt: skip
    return handles


def subflows_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw the goodput as a share of the optimum against the number of subflows; TCP is at 0."""
    notes = ["Goodput per active server over its max-min fair rate in an ideal core; TCP is "
             "drawn at 0. " + NIC_NOTE, "Curves join medians over the seeds, bands reach from the "
             "least to the greatest run.", *sweep.caveats()]  # fmt: skip
    runs = runs.assign(share=runs["goodput_nic"] / runs["optimum_nic"],
                       place=np.where(runs["transport"] == "tcp", 0, runs["subflows"]))  # fmt: skip
    keys = _varied(runs, ["spare_ports", "active_fraction", "cc", "rate_mbps"])
    groups = _groups(runs, keys)
    with style.settings():
        handles = [_handle(label, _look(rows, at)) for at, (label, rows) in enumerate(groups)]
        handles = handles if len(groups) > 1 else []
        text = Texts(f"Goodput by number of subflows: {sweep.facts.subject}", sweep.subtitle(),
                     notes, handles)  # fmt: skip
        figure, [[axes]] = draw_frame(text, Grid(3.2))
        for place, (_, rows) in enumerate(groups):
            _band(axes, rows, "place", "share", _look(rows, place))
        ticks = sorted(set(runs["place"].astype(int)))
        axes.set_xticks(ticks, ["TCP" if tick == 0 else str(tick) for tick in ticks])
        _finish(axes, "subflows of a connection", "share of the optimum")
        axes.set_ylim(0, 1.05)
    return figure


def lenders_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw what lenders keep: a row of points per congestion control and fraction."""
    runs = runs[runs["lender_goodput_nic"].notna()]
    notes = ["A lender is a sender whose uplink another sender may use as well; the point of a run "
             "is the mean over its lenders, over those that use TCP if there are any. Bars are "
             "medians. " + NIC_NOTE,
             *sweep.caveats()]  # fmt: skip
    keys = _varied(runs, ["cc", "spare_ports", "active_fraction", "subflows", "rate_mbps"])
    groups = _groups(runs, keys or ["cc"])
    with style.settings():
        text = Texts(f"Goodput of lenders: {sweep.facts.subject}", sweep.subtitle(), notes)
        figure, [[axes]] = draw_frame(text, Grid(max(0.3 * len(groups), 1.0), left=2.9))
        for place, (_, rows) in enumerate(groups):
            values = rows["lender_goodput_nic"].to_numpy()
            axes.barh(place, np.median(values), 0.6, color=_look(rows, place)[0], zorder=2)
            axes.plot(values, np.full(values.size, place), "o", color=style.INK, markersize=3.5,
                      markerfacecolor="white", zorder=3)  # fmt: skip
        axes.set_yticks(range(len(groups)), [label for label, _ in groups], fontsize=8)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.axvline(1, color=style.MUTED, linewidth=0.8)
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.5, zorder=0)
        axes.set_xlabel("goodput of lenders (NIC)")
    return figure


def core_figure(sweep: Sweep, use: pd.DataFrame) -> Figure:
    """Draw the core as a map: a row per cell, each link's direction a tile, the busiest first.

    Args:
        use: the derived table of all runs, with run_dir.
    """
    core = use[use["layer"] == CORE]
    rows, labels = [], []
    for cell in sweep.cells:
        mine = core[core["run_dir"].isin(cell.usable["run_dir"])]
        ranked = [np.sort(part["busy_fraction"].to_numpy(float))[::-1]
                  for _, part in mine.groupby("run_dir")]  # fmt: skip
        if ranked and len({part.size for part in ranked}) == 1:
            mean = np.mean(ranked, axis=0)
            idle = (mine["busy_fraction"] < IDLE_FRACTION).mean()
            rows.append(mean)
            labels.append(f"{cell.label or 'all runs'}: {mean.mean():.0%} busy, {idle:.0%} idle")
    width = max((row.size for row in rows), default=1)
    table = np.full((max(len(rows), 1), width), np.nan)
    for place, row in enumerate(rows):
        table[place, : row.size] = row
    notes = [f"Tiles: directions of the core's links, ranked by how busy they are, mean over the "
             f"runs of a cell. Idle: busy for less than {IDLE_FRACTION:.0%} of the time after the "
             "warm-up.", *sweep.caveats()]  # fmt: skip
    with style.settings():
        text = Texts(f"Use of the core: {sweep.facts.subject}", sweep.subtitle(), notes)
        figure, [[axes]] = draw_frame(text, Grid(max(0.26 * len(rows), 0.8), left=3.7, right=0.9))
        image = axes.imshow(table, aspect="auto", cmap="viridis", vmin=0, vmax=1,
                            extent=(0, width, len(table), 0))  # fmt: skip
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels, fontsize=7.5)
        axes.set_xlabel("directions of links of the core, ranked")
        bar = figure.colorbar(image, ax=axes, pad=0.015, fraction=0.05)
        bar.set_label("fraction of time busy", fontsize=8)
    return figure


def run_figure(frames: Frames, flows: pd.DataFrame, warning: str = "") -> Figure:
    """Draw one run: the goodput of each flow, ranked, and its max-min fair rate."""
    flows = flows.sort_values("goodput_nic", ascending=False).head(MAX_BARS)
    kernel = (frames.manifest.get("kernel") or {}).get("release", "?")
    about = [f"n = {len(flows)} flows", f"seed {frames.run.get('seed', '?')}", f"Linux {kernel}",
             f"congestion control {describe_control(frames.run['mptcp']['congestion_control'])}",
             f"mean {flows['goodput_nic'].mean():.2f} NIC"]  # fmt: skip
    notes = [NIC_NOTE + " Marks: the max-min fair rate that ports and cables of servers allow."]
    notes += [warning] if warning else []
    with style.settings():
        text = Texts(title(frames.run), "  \u00b7  ".join(about), notes)
        figure, [[axes]] = draw_frame(text, Grid(2.8))
        at = np.arange(len(flows))
        colours = np.where(flows["transport"] == "mptcp", SPARE_LOOKS[1][0], SPARE_LOOKS[0][0])
        axes.bar(at, flows["goodput_nic"], 0.8, color=colours, zorder=2)
        axes.plot(at, flows["optimum_nic"], "_", color=style.INK, markersize=7, zorder=3)
        axes.set_xticks([])
        _finish(axes, "flows, the fastest first", "goodput (NIC)")
    return figure


def _varied(runs: pd.DataFrame, keys: list[str]) -> list[str]:
    return [key for key in keys if key in runs and runs[key].nunique() > 1]


def _groups(runs: pd.DataFrame, keys: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the runs that have the same values of keys, with the values in words."""
    if not keys:
        return [("all runs", runs)]
    return [
        (", ".join(_words(key, value) for key, value in zip(keys, values, strict=True)), rows)
        for values, rows in runs.groupby(keys, sort=True)
    ]


def _words(key: str, value: Any) -> str:
    if key == "spare_ports":
        return "no spare port" if value == 0 else f"GRIN{value}"
    if key == "active_fraction":
        return f"{value:.3g} active"
    if key == "rate_mbps":
        return f"{value:g} Mbit/s"
    return str(value).upper() if key == "transport" else f"{key} {value}"


def _colour(spare: Any) -> str:
    return SPARE_LOOKS.get(int(spare), SPARE_LOOKS[3])[0]


def _look(rows: pd.DataFrame, place: int) -> tuple[str, str, Any]:
    """Return colour and marker by the spare ports, and a line by the place."""
    spare = rows["spare_ports"].unique()
    if len(spare) == 1:
        colour, marker = SPARE_LOOKS.get(int(spare[0]), SPARE_LOOKS[3])
        return colour, marker, LINES[place // 2 % len(LINES)]
    return style.SPARE_COLOURS[place % len(style.SPARE_COLOURS)], "o", "-"


def _handle(label: str, look: tuple[str, str, Any]) -> Line2D:
    colour, marker, line = look
    return Line2D([], [], color=colour, marker=marker, linestyle=line, label=label)


def _band(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: tuple[str, str, Any]) -> None:
    """Draw medians as a curve, and least and greatest as a band."""
    colour, marker, line = look
    by = rows.groupby(x)[y]
    axes.fill_between(by.min().index, by.min(), by.max(), color=colour, alpha=0.15, linewidth=0)
    axes.plot(by.median().index, by.median(), color=colour, marker=marker, markersize=5,
              linestyle=line, linewidth=1.7, zorder=3)  # fmt: skip


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
