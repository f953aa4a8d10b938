# SPDX-License-Identifier: Apache-2.0
"""Draw how MPTCP shares with TCP and which paths it uses, by congestion control; a scene each."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.fairness import (
    BOTTLENECK,
    FAIR_BAND,
    FAIR_SHARE,
    LEAST_OF_BEST,
    LOSS_RTT,
    RATES,
    TWO_BOTTLENECKS,
)
from analysis.layout import Grid, Texts, draw_frame
from analysis.sweep import Sweep, counted, numbers

CAPTIONS = {
    "mptcp_share": "MPTCP's share of one bottleneck, by congestion control.",
    "lossy_paths": "What MPTCP gets from two paths that lose packets, and what each gives alone.",
    "congested_path": "What MPTCP sends over a path that TCP users need more.",
}
PATHS = {"first": ("#0072B2", "over the first path"), "second": ("#E69F00", "over the second path")}
TCP_COLOUR = "#777777"
SUBFLOWS = 2
POINT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4, "zorder": 5,
                         "markerfacecolor": "white", "color": style.INK}  # fmt: skip


def figures(sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that there are usable runs for, by the name of their file."""
    runs = numbers_of(sweep)
    drawn = (
        ("mptcp_share", BOTTLENECK, share_figure),
        ("lossy_paths", LOSS_RTT, lossy_figure),
        ("congested_path", TWO_BOTTLENECKS, congested_figure),
    )
    for name, scene, draw in drawn:
        rows = runs[runs["mode"] == scene]
        if len(rows):
            yield name, draw(sweep, rows)


def numbers_of(sweep: Sweep) -> pd.DataFrame:
    """Return the usable runs with their numbers as numbers."""
    runs = sweep.usable.copy()
    for name in RATES:
        runs[name] = runs[name].astype("float64") if name in runs else np.nan
    return runs[runs["mptcp_mbps"].notna()]


def share_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw the share of MPTCP for each congestion control, with the fair share and its band."""
    low, high = FAIR_BAND
    notes = ["Goodput of one MPTCP connection with two subflows over that of both connections, "
             "after the warm-up. Bars: mean of the usable runs; points: runs.",
             f"A fair share is a half (RFC 6356); the band reaches from {low:.0%} to {high:.0%}. "
             "Two subflows that know nothing of each other take two thirds.",
             *sweep.caveats()]  # fmt: skip
    handles = [Line2D([], [], color=style.INK, label="fair share"),
               Patch(color="#009E73", alpha=0.18, label=f"{low:.0%} to {high:.0%}"),
               Line2D([], [], color=style.MUTED, linestyle="--", label="as two connections"),
               Line2D([], [], label="a run", **POINT)]  # fmt: skip
    with style.settings():
        texts = Texts("Share of one bottleneck that MPTCP takes from TCP",
                      _subtitle(sweep, runs), notes, handles)  # fmt: skip
        figure, [[axes]] = draw_frame(texts, Grid(3.2))
        axes.axhspan(100 * low, 100 * high, color="#009E73", alpha=0.18, linewidth=0)
        axes.axhline(100 * FAIR_SHARE, color=style.INK, linewidth=1)
        axes.axhline(100 * SUBFLOWS / (SUBFLOWS + 1), color=style.MUTED, linestyle="--",
                     linewidth=0.9)  # fmt: skip
        names = _names(sweep, runs)
        for at, name in enumerate(names):
            share = 100 * runs.loc[runs["cc"] == name, "mptcp_share"]
            axes.bar(at, share.mean(), 0.5, color="#56B4E9", zorder=1)
            _points(axes, at, share, 0.5)
            axes.annotate(f"{share.mean():.1f} %", (at, 2), ha="center", fontsize=8.5)
        _finish(axes, names, "MPTCP's share of the goodput (%)")
        axes.set_ylim(0, 100)
    return figure


def lossy_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw what MPTCP gets over two lossy paths, stacked, beside TCP on each of them."""
    best = _best(runs)
    notes = ["The first path loses 4 % of the packets at a round trip of 10 ms, the second 1 % at "
             "100 ms, unless the experiment says otherwise. TCP: a connection on each path in the "
             "same runs; queues are never the limit, so they do not meet.",
             "Bars: mean of the usable runs after the warm-up; points: MPTCP's goodput in each.",
             *sweep.caveats()]  # fmt: skip
    handles = [*_path_handles(), Patch(color=TCP_COLOUR, label="one TCP connection"),
               Line2D([], [], color=style.INK, linestyle="--",
                      label=f"{LEAST_OF_BEST:.0%} of the better path"),
               Line2D([], [], label="a run", **POINT)]  # fmt: skip
    with style.settings():
        texts = Texts("Two paths that lose packets: MPTCP against TCP on the better one",
                      _subtitle(sweep, runs), notes, handles)  # fmt: skip
        figure, [[axes]] = draw_frame(texts, Grid(3.2))
        alone = [float(runs[f"tcp_{path}_mbps"].mean()) for path in PATHS]
        for at, rate in enumerate(alone):
            axes.bar(at, rate, 0.5, color=TCP_COLOUR, zorder=2)
            axes.annotate(f"{rate:.2f}", (at, rate), ha="center", va="bottom", fontsize=8.5)
        names = _names(sweep, runs)
        for at, name in enumerate(names, len(PATHS)):
            rows = runs[runs["cc"] == name]
            top = _stack(axes, at, rows)
            _points(axes, at, rows["mptcp_mbps"], 0.5)
            axes.annotate(f"{rows['mptcp_mbps'].mean() / best:.0%} of the better",
                          (at, top * 1.04), ha="center", va="bottom", fontsize=8)  # fmt: skip
        axes.axhline(LEAST_OF_BEST * best, color=style.INK, linestyle="--", linewidth=0.9, zorder=4)
        labels = [f"TCP,\n{path} path" for path in PATHS]
        _finish(axes, [*labels, *names], "goodput (Mbit/s)")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    return figure


def congested_figure(sweep: Sweep, runs: pd.DataFrame) -> Figure:
    """Draw what MPTCP sends over each path, and what TCP gets on the one it needs more."""
    notes = ["Five MPTCP users have 10 Mbit/s of their own, the first path, and share 5 Mbit/s, "
             "the second, with five TCP users, unless the experiment says otherwise.",
             "Bars: mean over the usable runs of what all users together got after the warm-up; "
             "points: runs.", *sweep.caveats()]  # fmt: skip
    handles = [Patch(color=PATHS["second"][0], label="MPTCP over the congested path"),
               Patch(color=TCP_COLOUR, label="TCP on it"),
               Line2D([], [], label="a run", **POINT)]  # fmt: skip
    with style.settings():
        texts = Texts("A congested path: does MPTCP leave it to those who have no other?",
                      _subtitle(sweep, runs), notes, handles)  # fmt: skip
        figure, [[axes]] = draw_frame(texts, Grid(3.2))
        names = _names(sweep, runs)
        columns = (("congested_path_mbps", PATHS["second"][0]), ("tcp_second_mbps", TCP_COLOUR))
        for at, name in enumerate(names):
            for shift, (column, colour) in zip((-0.18, 0.18), columns, strict=True):
                rates = runs.loc[runs["cc"] == name, column]
                axes.bar(at + shift, rates.mean(), 0.34, color=colour, zorder=2)
                _points(axes, at + shift, rates, 0.3)
                axes.annotate(f"{rates.mean():.2f}", (at + shift, rates.max() + 0.08), ha="center",
                              va="bottom", fontsize=8.5)  # fmt: skip
        _finish(axes, names, "goodput of all users (Mbit/s)")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    return figure


def _subtitle(sweep: Sweep, runs: pd.DataFrame) -> str:
    """Return how many runs a figure shows, and on what they ran; its axis names the controls."""
    facts = sweep.facts
    parts = [f"n = {counted(len(runs), 'usable run')}", f"seeds {numbers(runs['seed'])}",
             f"TCP: {', '.join(sorted(set(runs['rival'])))}",
             f"backend {', '.join(facts.backends) or '?'}",
             f"Linux {', '.join(facts.kernels) or '?'}"]  # fmt: skip
    return "  \u00b7  ".join(parts)


def _best(runs: pd.DataFrame) -> float:
    """Return what the better path gives one TCP connection: the greater of two means."""
    return max(float(runs[f"tcp_{path}_mbps"].mean()) for path in PATHS)


def _stack(axes: Axes, at: int, rows: pd.DataFrame) -> float:
    """Draw the means of both paths on each other; return the top, or the greatest run."""
    bottom = 0.0
    for path, (colour, _) in PATHS.items():
        rate = float(rows[f"{path}_mbps"].mean())
        axes.bar(at, rate, 0.5, bottom, color=colour, zorder=2)
        bottom += rate
    return max(bottom, float(rows["mptcp_mbps"].max()))


def _points(axes: Axes, at: float, values: "pd.Series[float]", width: float) -> None:
    """Draw runs as points beside each other, by their order."""
    count = len(values)
    shifts = np.linspace(-0.3, 0.3, count) * width if count > 1 else np.zeros(1)
    axes.plot(at + shifts, values.to_numpy(float), **POINT)


def _path_handles() -> list[Any]:
    return [Patch(color=colour, label=f"MPTCP {label}") for colour, label in PATHS.values()]


def _names(sweep: Sweep, runs: pd.DataFrame) -> list[str]:
    """Return the congestion controls in the order in which they were asked for."""
    known = [name for name in sweep.facts.controls if (runs["cc"] == name).any()]
    return [*known, *sorted(set(runs["cc"]) - set(known))]


def _finish(axes: Axes, names: list[str], label: str) -> None:
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_ylabel(label)
