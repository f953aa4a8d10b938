# SPDX-License-Identifier: Apache-2.0
"""Draw a station among access points: where it walks, what it gets there, and what slots cost."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from analysis import style
from analysis.cells import Cell
from analysis.layout import Grid, Texts, draw_frame
from analysis.runs import Results
from analysis.sweep import Sweep
from analysis.timelines import examples

CAPTIONS = {
    "walk": "Goodput over time, and below it when which NIC was on which access point.",
    "street": "The street from above: access points, how far they reach, and where the station is.",
    "positions": "Goodput at each place between the access points.",
    "slots": "One NIC on several channels: goodput and added round trip against the oracle.",
    "how_many_aps": "What more access points bring: goodput, added round trip, longest gap.",
}
BAR_HEIGHT = 0.7
MAX_CELLS = 8


def figures(results: Results, sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that there are data for, by the name of their file."""
    runs = {record.name: record.run for record in results.records if "radio" in record.run}
    if not runs:
        return
    yield "street", street_figure(sweep, next(iter(runs.values())))
    if any(len(run["radio"]["walk"]) > 1 for run in runs.values()):
        yield "walk", walk_figure(sweep, results.gather("goodput"), runs)
    varied = {key for cell in sweep.cells for key in cell.values}
    if "wifi.at" in varied:
        yield "positions", positions_figure(sweep)
    if varied & {"wifi.slots.slot", "wifi.slots.switch"}:
        yield "slots", slots_figure(sweep)
    if "wifi.aps" in varied:
        yield "how_many_aps", how_many_figure(sweep)


def _level(sweep: Sweep) -> str:
    levels = sorted({str(level) for level in sweep.runs.get("level", []) if isinstance(level, str)})
    return f"Level of fidelity: {', '.join(levels) or 'unknown'}."


def _colour(ap: str) -> str:
    return style.ap_colour(int(ap.removeprefix("ap")))


def street_figure(sweep: Sweep, run: dict[str, Any]) -> Figure:
    """Draw the map of a run."""
    radio = run["radio"]
    steps = np.array(radio["walk"], dtype=float)
    left, right = steps[:, 1].min(), steps[:, 1].max()
    for ap in radio["aps"]:
        left = min(left, ap["position_m"][0] - 20)
        right = max(right, ap["position_m"][0] + 20)
    notes = ["Circles: how far an access point reaches without shadowing. Numbers along the walk "
             "are seconds.", _level(sweep), *sweep.caveats()]  # fmt: skip
    with style.settings():
        handles = [Line2D([], [], linestyle="", marker="^", color=_colour(ap["name"]),
                          label=f"{ap['name']}, channel {ap['channel']}")
                   for ap in radio["aps"]]  # fmt: skip
        handles.append(Line2D([], [], color=style.INK, marker="o", markersize=3, label="station"))
        texts = Texts("The street from above", sweep.subtitle(), notes, handles)
        figure, [[axes]] = draw_frame(texts, Grid(2.6))
        for ap in radio["aps"]:
            x, y = ap["position_m"]
            axes.add_patch(Circle((x, y), ap["coverage_m"], facecolor=_colour(ap["name"]),
                                  alpha=0.12, edgecolor=_colour(ap["name"]), zorder=1))  # fmt: skip
            axes.plot([x], [y], marker="^", markersize=9, color=_colour(ap["name"]), zorder=4)
        axes.plot(steps[:, 1], steps[:, 2], color=style.INK, marker="o", markersize=4, zorder=3)
        if len(steps) > 1:
            for at_s in np.arange(0, steps[-1, 0] + 1, 20):
                x, y = (np.interp(at_s, steps[:, 0], steps[:, n]) for n in (1, 2))
                axes.plot([x], [y], marker="|", markersize=7, color=style.INK, zorder=3)
                axes.annotate(f"{at_s:.0f}", (x, y), (0, 7), textcoords="offset points",
                              fontsize=7.5, ha="center", color=style.MUTED)  # fmt: skip
        axes.set_aspect("equal", adjustable="datalim")
        axes.plot([left - 5, right + 5], [steps[0, 2]] * 2, alpha=0)  # so that these are seen
        axes.set_xlabel("x (m)")
        axes.set_ylabel("y (m)")
    return figure


def walk_figure(sweep: Sweep, goodput: pd.DataFrame, runs: dict[str, dict[str, Any]]) -> Figure:
    """Draw one run of each cell over time: its goodput, and its associations beneath."""
    chosen = examples(sweep)[:MAX_CELLS]
    grid = Grid(1.0, 2 * len(chosen), gap_y=0.42, head=0.3, left=0.9, is_shared=False)
    is_model = all(run["radio"]["level"] == "gate" for run in runs.values())
    meaning = "has an address at" if is_model else "is to be on, by its policy,"
    notes = ["One run of each cell: the first that is usable. Goodput in bins of 0.5 s. Bars: the "
             f"NIC {meaning} the access point; pale: out of range, or the access point is "
             "off.", _level(sweep), *sweep.caveats()]  # fmt: skip
    names = sorted({ap["name"] for run in runs.values() for ap in run["radio"]["aps"]})
    with style.settings():
        handles = [Line2D([], [], linewidth=6, color=_colour(name), label=f"on {name}")
                   for name in names]  # fmt: skip
        texts = Texts("Goodput and associations", sweep.subtitle(), notes, handles)
        figure, axes = draw_frame(texts, grid)
        top = 1.1 * float(goodput["goodput_mbps"].max()) if len(goodput) else 1.0
        end_s = max(float(run["duration_s"]) for run in runs.values())
        for number, (cell, row) in enumerate(chosen):
            above, below = axes[2 * number][0], axes[2 * number + 1][0]
            run = runs[str(row["run_dir"])]
            mine = goodput[goodput["run_dir"] == row["run_dir"]]
            above.step(mine["t_s"], mine["goodput_mbps"], where="post", color=cell.look.colour,
                       linewidth=1.2)  # fmt: skip
            above.set_ylim(0, top)
            above.set_ylabel("goodput\n(Mbit/s)")
            above.set_title(_walk_title(cell, row), fontsize=8.5, loc="left", pad=3)
            _draw_associations(below, run)
            for place in (above, below):
                place.set_xlim(0, end_s)
                place.tick_params(labelbottom=place is axes[-1][0])
        axes[-1][0].set_xlabel("time (s)")
        _shrink(figure, axes)
    return figure


def _walk_title(cell: Cell, row: Any) -> str:
    said = [cell.label or "run"]
    for key, text in (("goodput_mbps", "{:.2f} Mbit/s"), ("gap_max_s", "longest gap {:.2f} s")):
        if not pd.isna(row.get(key)):  # a run that has failed may have neither
            said.append(text.format(float(row[key])))
    return "  ·  ".join(said)


def _shrink(figure: Figure, axes: list[list[Axes]]) -> None:
    """Make the lower panel of each pair low and put it right under the upper one."""
    for [above], [below] in zip(axes[::2], axes[1::2], strict=True):
        top, bottom = above.get_position(), below.get_position()
        height = top.y1 - bottom.y0
        above.set_position((top.x0, bottom.y0 + 0.42 * height, top.width, 0.58 * height))
        below.set_position((top.x0, bottom.y0 + 0.05 * height, top.width, 0.27 * height))
        above.tick_params(labelbottom=False)


def _draw_associations(axes: Axes, run: dict[str, Any]) -> None:
    radio, end_s = run["radio"], float(run["duration_s"])
    nics = radio["station"]["nics"]
    lanes = [(nic, ap["name"]) for nic in nics for ap in radio["aps"]]
    used = [lane for lane in lanes
            if any((c["nic"], c["ap"]) == lane for c in radio["associations"])]  # fmt: skip
    for place, (nic, ap) in enumerate(used):
        for first_s, last_s in _on(radio, nic, ap, end_s):
            for start_s, stop_s, is_up in _in_range(radio, nic, ap, first_s, last_s):
                axes.barh(place, stop_s - start_s, BAR_HEIGHT, left=start_s, color=_colour(ap),
                          alpha=0.95 if is_up else 0.3, linewidth=0)  # fmt: skip
    axes.set_ylim(max(len(used), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(used)), [f"{nic} {ap}" for nic, ap in used], fontsize=7)
    axes.tick_params(axis="y", length=0)


def _on(radio: dict[str, Any], nic: str, ap: str, end_s: float) -> Iterator[tuple[float, float]]:
    since: float | None = None
    for change in radio["associations"]:
        if (change["nic"], change["ap"]) != (nic, ap):
            continue
        if change["is_on"]:
            since = change["at_s"]
        elif since is not None:
            yield since, change["at_s"]
            since = None
    if since is not None:
        yield since, end_s


def _in_range(
    radio: dict[str, Any], nic: str, ap: str, first_s: float, last_s: float
) -> Iterator[tuple[float, float, bool]]:
    samples = next(one["samples"] for one in radio["links"] if (one["nic"], one["ap"]) == (nic, ap))
    edges = [first_s, *(s[0] for s in samples if first_s < s[0] < last_s), last_s]
    begun_s, was_up = first_s, None
    for start_s in edges[:-1]:
        is_up = [sample[2] for sample in samples if sample[0] <= start_s][-1] > 0
        if was_up is not None and is_up != was_up:
            yield begun_s, start_s, was_up
            begun_s = start_s
        was_up = is_up
    yield begun_s, last_s, bool(was_up)


def _number(cell: Cell, key: str) -> float:
    return float(str(cell.values[key]).split()[0])


def positions_figure(sweep: Sweep) -> Figure:
    """Draw goodput against the position, a curve per policy."""
    notes = ["Medians of the usable runs; points are runs. Dashed: what the links of a policy "
             "could have carried (the oracle).", _level(sweep), *sweep.caveats()]  # fmt: skip
    with style.settings():
        series = _by_mode(sweep)
        handles = [Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                          label=look.label) for _, look, _ in series]  # fmt: skip
        texts = Texts("Goodput between two access points", sweep.subtitle(), notes, handles)
        figure, [[axes]] = draw_frame(texts, Grid(3.2))
        for _, look, cells in series:
            ordered = sorted(cells, key=lambda cell: _number(cell, "wifi.at"))
            at = [_number(cell, "wifi.at") for cell in ordered]
            _curve(axes, at, ordered, "goodput_mbps", look)
            axes.plot(at, [cell.median("oracle_mbps") for cell in ordered], color=look.colour,
                      linestyle=(0, (1, 2)), linewidth=1.0, zorder=2)  # fmt: skip
        _finish(axes, "position along the street (m)", "goodput (Mbit/s)")
    return figure


def _by_mode(sweep: Sweep) -> list[tuple[str, style.ModeStyle, list[Cell]]]:
    found: dict[str, list[Cell]] = {}
    for cell in sweep.cells:
        found.setdefault(str(cell.values.get("mode", cell.runs["mode"].iloc[0])), []).append(cell)
    return [
        (mode, style.mode_style(mode) or style.ordered_style(mode, number, len(found)), cells)
        for number, (mode, cells) in enumerate(found.items())
    ]


def _curve(axes: Axes, at: list[float], cells: list[Cell], column: str, look: Any) -> None:
    axes.plot(at, [cell.median(column) for cell in cells], color=look.colour, linestyle=look.line,
              marker=look.marker, markersize=5, linewidth=1.6, zorder=3)  # fmt: skip
    for x, cell in zip(at, cells, strict=True):
        values = cell.usable[column].astype("float64").to_numpy()
        axes.plot(np.full(values.size, x), values, linestyle="", marker=".", markersize=4,
                  color=look.colour, alpha=0.7, zorder=4)  # fmt: skip


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_ylim(0, 1.04 * axes.get_ylim()[1])  # a marker of nearly the same height fits
    axes.grid(axis="y", color=style.FAINT, alpha=0.25, linewidth=0.5)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def slots_figure(sweep: Sweep) -> Figure:
    """Draw goodput over that of the links, and the added round trip, against the switch time."""
    notes = ["Left: goodput over that of a NIC that need not switch; dotted is 1 - switch / slot. "
             "Right: how much longer an echo took than on an idle path: mean (filled) and longest "
             "(open), the traffic's own queue included; dotted: what slots alone make one wait at "
             "most.", _level(sweep), *sweep.caveats()]  # fmt: skip
    slots = sorted({float(v) for v in sweep.runs["slot_s"].dropna()})
    with style.settings():
        looks = {slot: style.ordered_style(f"slot {slot * 1e3:g} ms", number, len(slots))
                 for number, slot in enumerate(slots)}  # fmt: skip
        handles = [Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                          label=look.label) for look in looks.values()]  # fmt: skip
        texts = Texts("One NIC on several channels", sweep.subtitle(), notes, handles)
        figure, [[left, right]] = draw_frame(
            texts, Grid(2.9, columns=2, gap_x=0.75, is_shared=False)
        )
        for slot, look in looks.items():
            rows = sweep.usable[sweep.usable["slot_s"] == slot].sort_values("switch_s")
            at = rows["switch_s"].to_numpy(float) * 1e3
            share = 1 - rows["switch_s"].to_numpy(float) / slot
            ratio = rows["goodput_mbps"] / rows["oracle_mbps"].astype(float) * share
            left.plot(at, ratio, color=look.colour, marker=look.marker, linestyle=look.line)
            left.plot(at, share, color=look.colour, linestyle=(0, (1, 2)), linewidth=1.0)
            for column, fill in (("rtt_added_ms_mean", look.colour), ("rtt_added_ms_max", "white")):
                right.plot(at, rows[column].astype(float), color=look.colour, marker=look.marker,
                           linestyle=look.line, markerfacecolor=fill)  # fmt: skip
            right.plot(at, rows["rtt_bound_ms_max"].astype(float), color=look.colour,
                       linestyle=(0, (1, 2)), linewidth=1.0)  # fmt: skip
        _finish(left, "switch time (ms)", "goodput over that without switching")
        left.set_ylim(0, 1.1)
        _finish(right, "switch time (ms)", "added round trip (ms)")
    return figure


def how_many_figure(sweep: Sweep) -> Figure:
    """Draw goodput, added round trip and longest gap against the number of access points."""
    notes = ["Curves join medians of the usable runs, points are runs.", _level(sweep),
             *sweep.caveats()]  # fmt: skip
    panels = (
        ("goodput_mbps", "goodput (Mbit/s)"),
        ("rtt_added_ms_mean", "mean added round trip (ms)"),
        ("gap_max_s", "longest time without data (s)"),
    )
    with style.settings():
        series = _by_mode(sweep)
        handles = [Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                          label=look.label) for _, look, _ in series]  # fmt: skip
        texts = Texts("How many access points?", sweep.subtitle(), notes, handles)
        figure, [places] = draw_frame(texts, Grid(2.6, columns=3, gap_x=0.7, is_shared=False))
        for axes, (column, label) in zip(places, panels, strict=True):
            for _, look, cells in series:
                ordered = sorted(cells, key=lambda cell: _number(cell, "wifi.aps"))
                at = [_number(cell, "wifi.aps") for cell in ordered]
                _curve(axes, at, ordered, column, look)
            axes.set_xticks(sorted({_number(cell, "wifi.aps") for cell in sweep.cells}))
            axes.xaxis.set_major_formatter("{x:.0f}")
            _finish(axes, "access points", label)
    return figure
