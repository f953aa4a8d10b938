# SPDX-License-Identifier: Apache-2.0
"""Read what a call left behind: one record and one row per run, whatever became of it.

Only plan.json, run.json, manifest.json and derived/ are read, never raw data.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import datacenter, fairness
from testbed.errors import SpecError

# Beside the statuses of manifest.json: a run without one is still running or was killed.
UNFINISHED, NOT_STARTED = "unfinished", "not started"
NUMBERS = ["virtual_s", "wall_s", "goodput_mbps", "download_s", "handover_gap_max_s"]
# What only a run past an interfering middlebox has.
INTERFERENCE_FACTS = ("behaviour", "outcome", "outcome_s", "transfer_s", "received_bytes",
                      "sha256_ok")  # fmt: skip

# What only a migration or a middlebox has.
MIGRATION_NUMBERS = [
    "gap_s", "upload_gap_s", "settling_gap_s", "stop_and_copy_s", "migration_s",
    "model_migration_s", "rtt_before_ms", "rtt_after_ms", "fraction_via_middlebox_after",
]  # fmt: skip

# What only a station among access points has.
WIFI_NUMBERS = [
    "level", "policy", "aps", "oracle_mbps", "gap_max_s", "expected_gap_s", "rtt_added_ms_mean",
    "rtt_added_ms_max", "rtt_bound_ms_max", "switch_losses", "slot_s", "switch_s",
]  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """One run: what was planned, and what became of it.

    Attributes:
        directory: where it is, or would be.
        name: the same, relative to the results directory.
        planned: its entry in plan.json.
        run, manifest: the two files, {} where there is none.
        summary, verdict: summary.json and verdict.json of derived/, or what the manifest says.
    """

    directory: Path
    name: str
    planned: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)

    @property
    def varied(self) -> dict[str, str]:
        """Return the varied keys and their values."""
        found = self.planned.get("varied") or self.run.get("varied") or {}
        return {str(key): str(value) for key, value in found.items()}

    @property
    def mode(self) -> str | None:
        """Return the mode, if the experiment knows modes."""
        return self.run.get("mode") or self.varied.get("mode")

    @property
    def status(self) -> str:
        """Return the manifest's status, UNFINISHED or NOT_STARTED."""
        if self.manifest:
            return str(self.manifest.get("status", UNFINISHED))
        return UNFINISHED if self.directory.is_dir() else NOT_STARTED

    @property
    def level(self) -> str | None:
        """Return "valid", "suspect" or "invalid"; None if the run was never started."""
        if self.status == NOT_STARTED:
            return None
        judged = self.verdict.get("status") or self.summary.get("verdict")
        is_sound = self.status == "complete" and self.has_plan
        return str(judged) if judged and is_sound else "invalid"

    @property
    def has_plan(self) -> bool:
        """Whether run.json is there and names a path, without which nothing can be analysed.

        A datacenter has servers instead.
        """
        return bool((self.run.get("topology") or {}).get("paths")) or datacenter.is_datacenter(
            self.run
        )

    @property
    def reasons(self) -> list[str]:
        """Return why the run is not valid, one sentence each."""
        found = [str(reason.get("message")) for reason in self.verdict.get("reasons") or []]
        found = found or [str(reason) for reason in self.summary.get("verdict_reasons") or []]
        error = self.manifest.get("error")
        if error and error not in found:
            found.insert(0, str(error))
        if self.status == UNFINISHED:
            found.insert(0, "the run left no manifest: it is still running, or it was killed")
        elif self.status != NOT_STARTED and not self.has_plan:
            found.insert(0, "run.json cannot be read or names no path")
        elif self.status == "complete" and not (self.verdict or self.summary):
            found.append("the run has not been analysed; use 'testbed report'")
        return found

    def row(self) -> dict[str, Any]:
        """Return the run's row of the table of runs."""
        about = self.summary
        per_path = about.get("bytes_per_path") or {}
        return {
            "run_dir": self.name,
            **self.varied,
            "mode": self.mode,
            "seed": self._fact("seed"),
            "repetition": self.planned.get("repetition"),
            "backend": self.manifest.get("backend"),
            "status": self.status,
            "verdict": self.level,
            "verdict_reasons": self.reasons,
            **{name: about.get(name, self.manifest.get(name)) for name in NUMBERS},
            **{name: about[name] for name in datacenter.NUMBERS if name in about},
            **{name: about[name] for name in MIGRATION_NUMBERS if name in about},
            **{name: about[name] for name in INTERFERENCE_FACTS if "behaviour" in about},
            **{name: about[name] for name in fairness.NUMBERS if name in about},
            **{name: about[name] for name in WIFI_NUMBERS if name in about},
            **{f"bytes_{path}": count for path, count in per_path.items()},
        }

    def outcome(self) -> dict[str, Any]:
        """Return what became of the run: its summary, with the status and why it is not valid."""
        said = {"status": self.status, "verdict": self.level, "verdict_reasons": self.reasons}
        return {**self.summary, **said}

    def table_file(self, name: str) -> Path:
        """Return where the run's derived table of that name is, if it has one."""
        return self.directory / "derived" / f"{name}.parquet"

    def table_names(self) -> list[str]:
        """Return the names of the run's derived tables."""
        return sorted(file.stem for file in (self.directory / "derived").glob("*.parquet"))

    def _fact(self, name: str) -> Any:
        places = (self.manifest, self.run, self.planned)
        return next((place[name] for place in places if name in place), None)


@dataclass(frozen=True)
class Results:
    """A results directory, or one run directory.

    Attributes:
        directory: the directory that was asked for.
        plan: its plan.json, {} where there is none.
        records: its runs in the order of the plan.
    """

    directory: Path
    plan: dict[str, Any]
    records: tuple[RunRecord, ...]

    @property
    def is_one_run(self) -> bool:
        """Whether the directory is that of one run."""
        return len(self.records) == 1 and self.records[0].directory == self.directory

    @property
    def experiment(self) -> str:
        """Return the name of the experiment."""
        named = (place.get("experiment") for place in (self.plan, *self._runs))
        return next((str(name) for name in named if name), "experiment")

    @property
    def question(self) -> str:
        """Return the question that the experiment asks, "" if it says none."""
        return str(self.plan.get("question") or "")

    @property
    def varies(self) -> list[str]:
        """Return the varied keys."""
        said = self.plan.get("varies")
        return list(said if said is not None else self._varied_keys())

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return the table of runs, one row per run; absent numbers are missing."""
        rows = [record.row() for record in self.records]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        last = [name for name in columns if name.startswith("bytes_")]
        columns = [name for name in columns if name not in last] + last
        table = pd.DataFrame(rows, columns=columns)
        for name in [*NUMBERS, *(one for one in MIGRATION_NUMBERS if one in table)]:
            table[name] = pd.to_numeric(table[name]).astype("Float64")
        for name in ("seed", "repetition", *last):  # a seed has 64 bits
            table[name] = pd.array([row.get(name) for row in rows], dtype="UInt64")
        return table

    @property
    def is_valid(self) -> bool:
        """Whether there are runs and all of them are valid."""
        return bool(self.records) and all(record.level == "valid" for record in self.records)

    def table_names(self) -> list[str]:
        """Return the names of the derived tables that some run has."""
        return sorted({name for record in self.records for name in record.table_names()})

    def gather(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """Return a derived table of all runs put together.

        Args:
            name: of the table.
            columns: to read only these.

        Returns:
            `run_dir` and then the table's columns; without rows if no run has the table.
        """
        parts = [
            pd.read_parquet(file, columns=columns).assign(run_dir=record.name)
            for record, file in self.files(name)
        ]
        filled = [part for part in parts if len(part)] or parts[:1]
        for part in filled:
            part.attrs.clear()
        if not filled:
            return pd.DataFrame({"run_dir": pd.Series(dtype="str")})
        found = pd.concat(filled, ignore_index=True)
        return found[["run_dir", *(column for column in found if column != "run_dir")]]

    def files(self, name: str) -> Iterator[tuple[RunRecord, Path]]:
        """Yield the runs that have a derived table of that name, and its file."""
        for record in self.records:
            file = record.table_file(name)
            if file.is_file():
                yield record, file

    @property
    def _runs(self) -> list[dict[str, Any]]:
        return [record.run for record in self.records]

    def _varied_keys(self) -> list[str]:
        return list(dict.fromkeys(key for record in self.records for key in record.varied))


def read_results(directory: Path) -> Results:
    """Read a results directory or one run directory.

    Raises:
        SpecError: it is neither.
    """
    directory = Path(directory)
    if (directory / "run.json").exists():
        return Results(directory, {}, (_read_record(directory, directory, {}),))
    plan = _read_json(directory / "plan.json")
    planned = [entry for entry in plan.get("runs") or [] if "dir" in entry]
    known = {entry["dir"] for entry in planned}
    found = sorted(directory.glob("runs/*/rep*"))
    others = [path for path in found if path.relative_to(directory).as_posix() not in known]
    records = [_read_record(directory / entry["dir"], directory, entry) for entry in planned]
    records += [_read_record(path, directory, {}) for path in others if path.is_dir()]
    if not records:
        raise SpecError(
            f"{directory} is neither a results directory nor a run directory: it has no plan.json "
            "that names runs, no runs/ and no run.json; give the folder that the command printed, "
            "or that of the experiment, such as results/offload"
        )
    return Results(directory, plan, tuple(records))


def results_dir_of(run_dir: Path) -> Path | None:
    """Return the results directory that a run directory belongs to, if there is one."""
    parents = [*run_dir.parents[:3], *run_dir.resolve().parents[:3]]
    return next((path for path in parents if (path / "plan.json").exists()), None)


def _read_record(directory: Path, base: Path, planned: dict[str, Any]) -> RunRecord:
    manifest = _read_json(directory / "manifest.json")
    summary = _read_json(directory / "derived" / "summary.json")
    return RunRecord(
        directory=directory,
        name=directory.name if directory == base else directory.relative_to(base).as_posix(),
        planned=planned,
        run=_read_json(directory / "run.json"),
        manifest=manifest,
        summary=summary or manifest.get("summary") or {},
        verdict=_read_json(directory / "derived" / "verdict.json"),
    )


def _read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file; {} if it is not there or is none."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
