# SPDX-License-Identifier: Apache-2.0
"""Compare the numbers of cells with what the experiment expects of them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import datacenter, fairness, runs
from analysis.runs import Results, RunRecord
from testbed.errors import PlanError

Expected = dict[str, Any]
Values = dict[str, str]

USABLE = ("valid", "suspect")
OF = {"median": "median", "mean": "mean", "least": "min", "greatest": "max"}
SUMMARY_NUMBERS = ("steady_goodput_mbps", "retransmitted_bytes", "reinjected_bytes")
PER_PATH = "bytes_"
MET, UNMET, NOT_JUDGED = "met", "not met", "not judged"


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation in one cell.

    Attributes:
        number: what was compared, as the experiment names it.
        cell: the varied values of the cell; "" if there is none.
        expected: the comparison.
        value: what was measured; None if there was nothing.
        status: MET, UNMET or NOT_JUDGED.
        sentence: all of it.
    """

    number: str
    cell: str
    expected: str
    value: float | None
    status: str
    sentence: str

    @property
    def is_missed(self) -> bool:
        """Whether something else was measured than expected, or nothing."""
        return self.status == UNMET


def known_numbers(paths: Iterable[str]) -> list[str]:
    """Return the names of the numbers that a run may have.

    Args:
        paths: names of the paths of its network.
    """
    return [
        *runs.NUMBERS,
        *SUMMARY_NUMBERS,
        *(f"{PER_PATH}{path}" for path in paths),
        *runs.MIGRATION_NUMBERS,
        *runs.WIFI_NUMBERS,
        *runs.INTERFERENCE_FACTS,
        *datacenter.NUMBERS,
        *fairness.NUMBERS,
    ]


def check_numbers(expected: Iterable[Expected], paths: Iterable[str]) -> None:
    """Refuse what no run has, before anything is built.

    Raises:
        PlanError: an expectation is about an unknown number.
    """
    known = known_numbers(paths)
    for one in expected:
        if one["number"] not in known:
            near = difflib.get_close_matches(one["number"], known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
            raise PlanError(f'expect: no run has the number "{one["number"]}" ({hint})')


def judge_expectations(results: Results) -> list[Outcome]:
    """Return what became of every expectation, in the experiment's order."""
    return [_judge(results, one) for one in results.plan.get("expect") or []]


def _judge(results: Results, one: Expected) -> Outcome:
    what = one["number"] if one["of"] == "median" else f"{one['of']} {one['number']}"
    if one["cell"] is None:
        sentence = f"{what}: no cell of this call is meant ({_text(one['where'])})"
        return Outcome(one["number"], "", one["text"], None, NOT_JUDGED, sentence)
    cell = _text(one["cell"])
    what += f" of {cell}" if cell else ""
    value = _value(results, one, one["cell"])
    if one["base"] is not None:
        base = _value(results, one, one["base"])
        value = None if value is None or not base else value / base
        what += f" over that of {_text(one['base'])}"
    status = MET if value is not None and _is_within(value, one) else UNMET
    measured = "could not be measured" if value is None else f"is {value:.6g}"
    sentence = f"{what} {measured}, expected {one['text']}"
    return Outcome(one["number"], cell, one["text"], value, status, sentence)


def _is_within(value: float, one: Expected) -> bool:
    low, high = one["low"], one["high"]
    if one["is_strict"]:
        return (low is None or value > low) and (high is None or value < high)
    return (low is None or value >= low) and (high is None or value <= high)


def _value(results: Results, one: Expected, cell: Values) -> float | None:
    """Return the number of a cell, by its usable runs."""
    mine = [record for record in results.records if record.varied == cell]
    found = [_number(record, one["number"]) for record in mine if record.level in USABLE]
    values = pd.to_numeric(pd.Series(found, dtype="object"), errors="coerce").dropna()
    return float(getattr(values, OF[one["of"]])()) if len(values) else None


def _number(record: RunRecord, name: str) -> Any:
    row = record.row()
    return row[name] if name in row else record.summary.get(name)


def _text(values: Values) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
