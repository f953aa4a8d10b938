# SPDX-License-Identifier: Apache-2.0
"""Put an experiment in numbers: a row per cell, and sentences that say only what was measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis import interference_answer
from analysis.cells import Cell
from analysis.fairness import RATES, judgements
from analysis.style import path_style
from analysis.sweep import Sweep, brief, counted


def cell_table(sweep: Sweep) -> pd.DataFrame:
    """Return one row per cell: medians and extremes over its usable runs, means of bytes."""
    return pd.DataFrame([_cell_row(cell, sweep.facts.paths) for cell in sweep.cells])


def _cell_row(cell: Cell, paths: tuple[str, ...]) -> dict[str, Any]:
    runs = cell.usable
    goodput = runs["goodput_mbps"].astype("float64")
    row = {
        "cell": cell.label or "all runs",
        **cell.values,
        "runs": len(cell.runs),
        "valid": int((cell.runs["verdict"] == "valid").sum()),
        "suspect": int((cell.runs["verdict"] == "suspect").sum()),
        "goodput_mbps": goodput.median(),
        "goodput_min_mbps": goodput.min(),
        "goodput_max_mbps": goodput.max(),
        "download_s": cell.median("download_s"),
        "finished": int(runs["download_s"].notna().sum()),
        "handover_gap_max_s": runs["handover_gap_max_s"].astype("float64").max(),
    }
    if "mptcp_share" in runs:
        row |= {name: runs[name].astype("float64").mean() for name in RATES}
    for path in paths:
        column = f"bytes_{path}"
        known = runs[column].astype("float64") if column in runs else pd.Series(dtype=float)
        row[column] = known.mean()
    wall_s, virtual_s = runs["wall_s"].sum(), runs["virtual_s"].sum()
    row["times_real_time"] = float(virtual_s) / float(wall_s) if wall_s > 0 else float("nan")
    return row


def answer(sweep: Sweep) -> list[str]:
    """Return the result in sentences; each is there only if its numbers are."""
    found = [sweep.counts()]
    if interference_answer.is_interference(sweep):
        return found + interference_answer.answer(sweep)
    if fair := judgements(sweep.usable):
        return found + fair  # the scenes have little else in common
    if "stop_and_copy_s" in sweep.runs and sweep.runs["stop_and_copy_s"].notna().any():
        return found + _moves(sweep)
    for sentences in (_goodputs, _downloads, _gaps, _shares):
        found += sentences(sweep)
    return found


def _moves(sweep: Sweep) -> list[str]:
    """Say of a migration what the client noticed; a connection that died has no gap."""
    stood, gaps, trips = (
        _ranked(sweep, column) for column in ("stop_and_copy_s", "gap_s", "rtt_after_ms")
    )
    found = [f"The machine stood still for {_between(stood, brief, 's')}."] if stood else []
    if gaps:
        found.append(f"The client got nothing for {_between(gaps, brief, 's')}.")
    dead = [cell for cell in sweep.cells if len(cell.usable) and not cell.usable["gap_s"].count()]
    if dead:
        found.append(f"Nothing came after the move with {', '.join(map(_name, dead))}.")
    if trips:
        found.append(f"The round trip after the move is {_between(trips, brief, 'ms')}.")
    return found


def _goodputs(sweep: Sweep) -> list[str]:
    found = _ranked(sweep, "goodput_mbps")
    if not found:
        return []
    (low, worst), (high, best) = found[0], found[-1]
    if f"{low:.2f}" == f"{high:.2f}":
        return [f"Goodput is {_between(found, '{:.2f}'.format, 'Mbit/s')}."]
    times = f", {high / low:.1f} times the" if low > 0 else " and"
    medians = " (medians)" if any(len(cell.usable) > 1 for _, cell in found) else ""
    text = f"Goodput is {high:.2f} Mbit/s with {_name(best)}"
    return [f"{text}{times} {low:.2f} Mbit/s with {_name(worst)}{medians}."]


def _downloads(sweep: Sweep) -> list[str]:
    runs = sweep.usable
    if not len(runs) or not sweep.facts.is_sized:
        return []
    text = f"{runs['download_s'].notna().sum()} of {counted(len(runs), 'usable run')} finished"
    found = _ranked(sweep, "download_s")
    return [text + (f", in {_between(found, brief, 's')}." if found else ".")]


def _gaps(sweep: Sweep) -> list[str]:
    found = _ranked(sweep, "handover_gap_max_s", np.max)
    has_changes = any(sweep.facts.coverages.values())
    what = "handover gap" if has_changes else "time without goodput"
    return [f"The longest {what} is {_between(found, brief, 's')}."] if found else []


def _shares(sweep: Sweep) -> list[str]:
    """Say how much came over the path that comes and goes."""
    changing = [c.path for coverages in sweep.facts.coverages.values() for c in coverages][:1]
    texts = []
    for path in changing:
        shares = [(_share(cell, path, sweep.facts.paths), cell) for cell in sweep.cells]
        known = [pair for pair in shares if not np.isnan(pair[0])]
        mixed = [pair for pair in known if 0 < pair[0] < 1]  # with one path there is no choice
        found = sorted(mixed or known, key=lambda pair: pair[0])
        if found:
            text = _between(found, "{:.0%}".format, "of the bytes")
            texts.append(f"Over {path_style(path).label} came {text}.")
    return texts


def _between(found: list[tuple[float, Cell]], form: Callable[[float], str], unit: str) -> str:
    """Return the least and the greatest of ascending numbers, each with its cell."""
    (low, least), (high, most) = found[0], found[-1]
    one, other = f"{form(low)} {unit}", f"{form(high)} {unit}"
    if least is most:
        return f"{one} with {_name(least)}"
    if one == other:
        return f"{one} with each of {len(found)} cells"
    return f"{one} with {_name(least)} and {other} with {_name(most)}"


def _share(cell: Cell, path: str, paths: tuple[str, ...]) -> float:
    columns = [f"bytes_{name}" for name in paths if f"bytes_{name}" in cell.usable]
    sums = cell.usable[columns].astype("float64").sum()
    total = float(sums.sum())
    return float(sums.get(f"bytes_{path}", 0.0)) / total if total else float("nan")


def _ranked(
    sweep: Sweep, column: str, of: Callable[..., Any] = np.median
) -> list[tuple[float, Cell]]:
    """Return the cells that have the number, ascending by it."""
    found = []
    for cell in sweep.cells:
        values = cell.usable[column].astype("float64").dropna().to_numpy()
        if values.size:
            found.append((float(of(values)), cell))
    return sorted(found, key=lambda pair: pair[0])


def _name(cell: Cell) -> str:
    return f"\u201c{cell.label}\u201d" if cell.label else "all runs"
