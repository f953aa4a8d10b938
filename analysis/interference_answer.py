# SPDX-License-Identifier: Apache-2.0
"""The interference experiment on the report page: its answer, and its table of cells as text."""

from typing import Any

import pandas as pd

from analysis.interference import OUTCOMES
from analysis.sweep import Sweep, counted

HEADINGS = (
    ("Cell", "", False),
    ("Runs", "valid of all", True),
    ("Outcome", "", False),
    ("Decided after", "ms", True),
    ("Transfer took", "s", True),
    ("Arrived", "bytes", True),
    ("Content", "", False),
    ("Speed", "times real time", True),
)
NOTHING = "\u2013"


def is_interference(sweep: Sweep) -> bool:
    """Say whether the runs are of a middlebox that interferes."""
    return "behaviour" in sweep.runs and bool(sweep.runs["behaviour"].notna().any())


def answer(sweep: Sweep) -> list[str]:
    """Return how many usable runs had which outcome, by the behaviours that led to it."""
    found = []
    for outcome in OUTCOMES:
        rows = sweep.usable[sweep.usable["outcome"] == outcome]
        if len(rows):
            names = ", ".join(dict.fromkeys(str(name) for name in rows["behaviour"]))
            found.append(
                f"{outcome[0].upper()}{outcome[1:]}: {counted(len(rows), 'run')} ({names})."
            )
    return found


def rows(sweep: Sweep) -> list[list[str]]:
    """Return a row of texts per cell, under HEADINGS."""
    return [
        [cell.label, f"{(cell.runs['verdict'] == 'valid').sum()} of {len(cell.runs)}",
         *_told(cell.usable)]
        for cell in sweep.cells
    ]  # fmt: skip


def _told(runs: pd.DataFrame) -> list[str]:
    outcomes = " or ".join(dict.fromkeys(str(name) for name in runs["outcome"].dropna()))
    texts = dict.fromkeys("as sent" if ok else "not as sent" for ok in runs["sha256_ok"].dropna())
    wall_s, virtual_s = float(runs["wall_s"].sum()), float(runs["virtual_s"].sum())
    return [
        outcomes or NOTHING,
        _median(runs["outcome_s"], 1e3, 2),
        _median(runs["transfer_s"], 1, 2),
        _median(runs["received_bytes"], 1, 0),
        " or ".join(texts) or NOTHING,
        f"{virtual_s / wall_s:.1f}" if wall_s > 0 else NOTHING,
    ]


def _median(values: "pd.Series[Any]", factor: float, digits: int) -> str:
    known = pd.to_numeric(values).dropna().astype("float64")
    return f"{known.median() * factor:,.{digits}f}" if len(known) else NOTHING
