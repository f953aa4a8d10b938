# SPDX-License-Identifier: Apache-2.0
"""All runs of an experiment as figures need them: the cells, and what holds for every run."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from analysis import ride
from analysis.cells import Cell, cells_of
from analysis.ride import Coverage
from analysis.runs import Results, RunRecord
from analysis.wording import (
    MAX_PATHS,
    control_of,
    describe_control,
    is_sized,
    models,
    path_order,
    subject,
    task,
)

CAVEATS = {
    "invalid": "Invalid, drawn grey and part of no median",
    "suspect": "Suspect, drawn like the others",
    "not complete": "Not complete, drawn grey as far as they got",
    "never started": "Never started",
}
NAMED = 3  # runs that a caveat names before it counts


@dataclass(frozen=True)
class Facts:
    """What is true of the runs; a list has several entries where runs differ.

    Attributes:
        subject: what was done, such as "download of 10 MB over WiFi and 3G".
        paths: of all runs, from the bottom of a stack up: those that are always there first;
            empty if there are too many to tell apart.
        is_sized: whether a run is to end with its last byte, not when its time is up.
        coverages: of the paths that come and go, by run_dir.
        models: what stands for reality, one sentence each.
    """

    experiment: str = "experiment"
    question: str = ""
    subject: str = ""
    paths: tuple[str, ...] = ()
    coverages: dict[str, list[Coverage]] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    is_sized: bool = True

    def distinct_coverages(self) -> list[list[Coverage]]:
        """Return the coverages that runs have, each once: one where all runs are alike."""
        found: list[list[Coverage]] = []
        for coverages in self.coverages.values():
            if coverages and coverages not in found:
                found.append(coverages)
        return found


@dataclass(frozen=True)
class Sweep:
    """The table of runs, cell by cell, and what holds for all of them."""

    runs: pd.DataFrame
    cells: list[Cell]
    facts: Facts

    @property
    def usable(self) -> pd.DataFrame:
        """Return the runs that are valid or suspect."""
        return self.runs[self.runs["verdict"].isin(["valid", "suspect"])]

    def cell_of(self, run_dir: str) -> Cell:
        """Return the cell of a run."""
        return next(cell for cell in self.cells if run_dir in set(cell.runs["run_dir"]))

    def subtitle(self) -> str:
        """Return how many runs there are, and on what they ran."""
        facts = self.facts
        parts = [
            f"n = {counted(len(self.runs), 'run')} in {counted(len(self.cells), 'cell')}"
            + ("" if len(self.usable) == len(self.runs) else f", {len(self.usable)} usable"),
            ("seeds " if self.runs["seed"].nunique() > 1 else "seed ") + numbers(self.runs["seed"]),
            "backend " + (", ".join(facts.backends) or "?"),
            "Linux " + (", ".join(facts.kernels) or "?"),
            "congestion control " + (", ".join(map(describe_control, facts.controls)) or "?"),
        ]
        return "  ·  ".join(parts)

    def doubtful(self) -> dict[str, pd.DataFrame]:
        """Return the runs that are not valid, by what is the matter with them; no empty group."""
        runs = self.runs
        is_over, is_there = runs["status"] == "complete", runs["status"] != "not started"
        groups = {
            "invalid": runs[is_over & (runs["verdict"] == "invalid")],
            "suspect": runs[is_over & (runs["verdict"] == "suspect")],
            "not complete": runs[~is_over & is_there],
            "never started": runs[~is_there],
        }
        return {name: rows for name, rows in groups.items() if len(rows)}

    def caveats(self) -> list[str]:
        """Return which runs are not to be trusted and which have no data, one sentence each."""
        return [f"{CAVEATS[name]}: {self.names(rows)}." for name, rows in self.doubtful().items()]

    def counts(self) -> str:
        """Return how many runs are valid and how many are what else, as a sentence."""
        valid = int((self.runs["verdict"] == "valid").sum())
        others = ", ".join(f"{len(rows)} {name}" for name, rows in self.doubtful().items())
        return f"Valid runs: {valid} of {len(self.runs)}" + (f" ({others})." if others else ".")

    def names(self, rows: pd.DataFrame) -> str:
        """Return runs by their cell, repetition and first reason, the first few of them."""
        names = [self._name(row) for row in rows.head(NAMED).to_dict("records")]
        more = f"; and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        return "; ".join(names) + more

    def _name(self, row: dict[Hashable, Any]) -> str:
        label = self.cell_of(row["run_dir"]).label or row["run_dir"]
        number = row.get("repetition")
        which = "" if pd.isna(number) else f" no. {number}"
        reasons = list(row["verdict_reasons"])
        return f"{label}{which}" + (f" ({reasons[0]})" if reasons else "")


def sweep_of(results: Results) -> Sweep:
    """Return the runs of a results directory as figures need them."""
    table = results.table
    return Sweep(table, cells_of(table, results.varies), facts_of(results))


def facts_of(results: Results) -> Facts:
    """Return what is true of the runs of a results directory."""
    records = [record for record in results.records if record.run]
    return Facts(
        experiment=results.experiment,
        question=results.question,
        subject=_common_subject([record.run for record in records]),
        paths=_paths([record.run for record in records]),
        is_sized=any(is_sized(record.run) for record in records),
        coverages={record.name: ride.coverages(record.run) for record in records},
        kernels=_distinct(_kernel(record) for record in records),
        backends=_distinct(record.manifest.get("backend") for record in records),
        controls=_distinct(control_of(record.run) for record in records),
        models=_common_models(records),
    )


def counted(number: int, noun: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def brief(value: float) -> str:
    """Return a number for a sentence: about three digits, never with an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 1:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.5f}".rstrip("0").rstrip(".")


def numbers(values: Iterable[Any]) -> str:
    """Return distinct whole numbers as "1-3, 7"."""
    known = sorted({int(value) for value in values if not pd.isna(value)})
    spans: list[list[int]] = []
    for value in known:
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    return ", ".join(texts[:6]) + (", ..." if len(texts) > 6 else "") or "?"


def _distinct(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values if value))


def _kernel(record: RunRecord) -> str:
    return str((record.manifest.get("kernel") or {}).get("release") or "")


def _paths(runs: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the paths of all runs, because runs may differ in them; none if they are too many."""
    paths = tuple(dict.fromkeys(path for run in runs for path in path_order(run)))
    return paths if len(paths) <= MAX_PATHS else ()


def _common_subject(runs: list[dict[str, Any]]) -> str:
    """Return what was done as exactly as it is true of all runs."""
    for words in (subject, partial(subject, has_size=False), partial(task, has_size=False)):
        found = {words(run) for run in runs}
        if len(found) == 1:
            return found.pop()
    return ""


def _common_models(records: list[RunRecord]) -> tuple[str, ...]:
    found = list(dict.fromkeys(models(record.run) for record in records))
    return ("Runs differ in their links or traces.",) if len(found) > 1 else sum(found, ())
