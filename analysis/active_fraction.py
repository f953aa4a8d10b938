# SPDX-License-Identifier: Apache-2.0
"""Draw what servers of a datacenter get: against how many send, and against subflows.

The tables have a row per run with the names that `testbed grin --json` shows. Those of the
flow-level model are curves, those of the emulation points on top of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import style
from analysis.layout import Grid, Texts, draw_frame
from analysis.style import ModeStyle
from analysis.sweep import counted, numbers

NIC = "goodput_nic"
KEYS = ("transport", "cc", "spare_ports", "subflows", "active_fraction")
DASHED: Any = (0, (4, 2))
FINE = np.linspace(0, 1, 101)
FLUID_NOTE = (
    "Curves are means of the flow-level model, which knows capacities, ECMP and the equilibrium of "
    "congestion control, but no packets; bands reach from the lowest seed to the highest."
)
OPTIMUM_NOTE = (
    "Optimum: max-min fair rates of the same traffic if only the servers' ports limited them."
)
POINT_NOTE = (
    "Points are means of the emulation, n = {}; bars reach from the lowest run to the highest."
)


def active_fraction_figure(fluid: pd.DataFrame, emulated: pd.DataFrame | None = None) -> Figure:
    """Draw goodput per active server against the fraction of active servers.

    Args:
        fluid: rows of `testbed.fluid.sweep`, of one congestion control and number of subflows.
        emulated: rows of runs in the lab, or None.
    """
    ports = sorted(fluid["spare_ports"].unique())
    looks = {n: style.ordered_style(_ports(n), at, len(ports)) for at, n in enumerate(ports)}
    notes = [FLUID_NOTE, OPTIMUM_NOTE + " With one spare port: its expectation in a large network, "
             "1 + (1 - f)²."]  # fmt: skip
    with style.settings():
        texts = Texts(
            f"Goodput per active server: {_network(fluid)}", _subtitle(fluid),
            notes + _point_notes(emulated), _handles(looks.values(), emulated),
        )  # fmt: skip
        figure, [[axes]] = draw_frame(texts, Grid(3.6))
        for count, look in looks.items():
            mine = fluid[fluid["spare_ports"] == count]
            _draw_optimum(axes, mine, int(count), look)
            _draw_band(axes, mine, "active_fraction", NIC, look)
            if emulated is not None:
                rows = emulated[emulated["spare_ports"] == count]
                _draw_points(axes, rows, "active_fraction", NIC, look)
        _finish(axes, "fraction of servers that send", "goodput per active server (NICs)")
        axes.set_xlim(0, 1.02)
    return figure


def subflows_figure(fluid: pd.DataFrame, emulated: pd.DataFrame | None = None) -> Figure:
    """Draw goodput as a fraction of the optimum against the subflows of a connection.

    Args:
        fluid: rows of `testbed.fluid.sweep`; those of plain TCP are one curve's first point.
        emulated: rows of runs in the lab, or None.
    """
    fluid = _with_share(fluid)
    points = None if emulated is None else _with_share(emulated)
    controls = list(dict.fromkeys(fluid.loc[fluid["transport"] == "mptcp", "cc"]))
    looks = {cc: style.ordered_style(f"MPTCP, {cc}", at, len(controls))
             for at, cc in enumerate(controls)}  # fmt: skip
    with style.settings():
        texts = Texts(
            f"Goodput by number of subflows: {_network(fluid)}", _subtitle(fluid),
            [FLUID_NOTE, OPTIMUM_NOTE, *_point_notes(points)], _handles(looks.values(), points),
        )  # fmt: skip
        figure, [[axes]] = draw_frame(texts, Grid(3.6))
        for cc, look in looks.items():
            for rows, draw in ((fluid, _draw_band), (points, _draw_points)):
                if rows is not None:
                    mine = rows[(rows["cc"] == cc) & (rows["transport"] == "mptcp")]
                    draw(axes, mine, "subflows", "share", look)
        axes.axhline(1, color=style.MUTED, linewidth=1, linestyle=DASHED)
        _draw_tcp(axes, fluid)
        _finish(axes, "subflows of a connection", "goodput (fraction of the optimum)")
    return figure


def difference(fluid: pd.DataFrame, emulated: pd.DataFrame) -> pd.DataFrame:
    """Return where model and emulation have the same cell, and by how much they differ.

    Returns:
        a row per cell: its keys, both goodputs (means, NICs), seeds and runs, and
        `difference_points`, the model's goodput less the emulation's, in hundredths of a NIC.
    """
    keys = [key for key in KEYS if key in fluid and key in emulated]
    sides = []
    for name, table in (("fluid", fluid), ("emulated", emulated)):
        cells = table.groupby(keys)[NIC].agg(["mean", "count"])
        sides.append(cells.set_axis([f"{name}_nic", f"{name}_runs"], axis=1))
    both = sides[0].join(sides[1], how="inner").reset_index()
    both["difference_points"] = (both["fluid_nic"] - both["emulated_nic"]) * 100
    return both


def _with_share(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(share=table[NIC] / table["oracle_nic"])


def _ports(count: int) -> str:
    return ("no", "1", "2", "3")[count] + f" spare port{'' if count == 1 else 's'}"


def _network(fluid: pd.DataFrame) -> str:
    names = ", ".join(str(name).replace("_", " ") for name in fluid["topology"].unique())
    sizes = ", ".join(f"{size:,}" for size in sorted(fluid["servers"].unique()))
    return f"{names} of {sizes} servers"


def _subtitle(fluid: pd.DataFrame) -> str:
    parts = [
        f"n = {counted(len(fluid), 'solution')}",
        f"seeds {numbers(fluid['seed'])}",
        "congestion control " + ", ".join(dict.fromkeys(fluid["cc"])),
        f"subflows {numbers(fluid['subflows'])}",
    ]
    return "  ·  ".join(parts)


def _point_notes(emulated: pd.DataFrame | None) -> list[str]:
    return [] if emulated is None else [POINT_NOTE.format(counted(len(emulated), "run"))]


def _handles(looks: Any, emulated: pd.DataFrame | None) -> Sequence[Any]:
    handles: list[Any] = [
        Line2D([], [], color=look.colour, linewidth=1.8, label=look.label) for look in looks
    ]
    grey = style.MUTED
    handles += [Line2D([], [], color=grey, linewidth=1, linestyle=DASHED, label="optimum"),
                Patch(color=grey, alpha=0.25, linewidth=0, label="all seeds")]  # fmt: skip
    if emulated is not None:
        handles.append(Line2D([], [], color=grey, linestyle="", marker="o", label="emulation"))
    return handles


def _draw_optimum(axes: Axes, rows: pd.DataFrame, ports: int, look: ModeStyle) -> None:
    """Draw the closed form where there is one, else the mean of the optima of the traffic."""
    if ports <= 1:
        at, values = FINE, 1 + ports * (1 - FINE) ** 2
    else:
        means = rows.groupby("active_fraction")["oracle_nic"].mean()
        at, values = means.index.to_numpy(float), means.to_numpy(float)
    axes.plot(at, values, color=look.colour, linewidth=1, linestyle=DASHED, zorder=2)


def _draw_band(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: ModeStyle) -> None:
    groups = rows.groupby(x)[y].agg(["mean", "min", "max"])
    at = groups.index.to_numpy(float)
    axes.fill_between(at, groups["min"], groups["max"], color=look.colour, alpha=0.25, linewidth=0)
    axes.plot(at, groups["mean"], color=look.colour, linewidth=1.8, zorder=3, marker=".")


def _draw_points(axes: Axes, rows: pd.DataFrame, x: str, y: str, look: ModeStyle) -> None:
    groups = rows.groupby(x)[y].agg(["mean", "min", "max"])
    at = groups.index.to_numpy(float)
    axes.vlines(at, groups["min"], groups["max"], color=look.colour, linewidth=1, zorder=4)
    axes.plot(at, groups["mean"], linestyle="", marker=look.marker, markersize=6, zorder=5,
              color=look.colour, markeredgecolor=style.INK, markeredgewidth=0.6)  # fmt: skip


def _draw_tcp(axes: Axes, fluid: pd.DataFrame) -> None:
    shares = fluid.loc[fluid["transport"] == "tcp", "share"]
    if len(shares):
        axes.axhline(shares.mean(), color=style.MUTED, linewidth=1.2, linestyle=(0, (1, 1.2)))
        axes.text(0.995, shares.mean(), "TCP, one path", color=style.MUTED, fontsize=8, ha="right",
                  va="bottom", transform=axes.get_yaxis_transform())  # fmt: skip


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, max(axes.dataLim.y1 * 1.06, 1.06))
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
