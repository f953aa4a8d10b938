# SPDX-License-Identifier: Apache-2.0
"""Each cell of the interference table ten times with one seed: it has to come out the same."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from analysis import interference
from analysis.load import load_run
from analysis.verdict import judge_frames
from testbed.backends.lab import LabBackend
from testbed.cli.interference import SPEC
from testbed.orchestrate import carry_out
from testbed.plan import PlannedRun, plan_experiment
from testbed.rundir import write_json
from testbed.spec.load import load_experiment

TIMES, SEED = 10, 1
COMPARED = ("outcome", "outcome_s", "counters", "sha256_ok", "received_bytes", "repeated_bytes",
            "transfer_s", "evidence", "verdict")  # fmt: skip


def summarise(run_dir: Path) -> dict[str, Any]:
    """Return the cell that a run makes, without its figures."""
    frames = load_run(run_dir)
    return {"summary": {**interference.summary(frames), "verdict": judge_frames(frames).status}}


def repeat(run: PlannedRun, results: Path) -> list[dict[str, Any]]:
    """Carry out a run several times, each in a kernel of its own, and return the cells."""
    folders = [f"{run.key}/rep{number + 1:02d}" for number in range(TIMES)]
    for folder in folders:
        (results / folder).mkdir(parents=True)
        write_json(results / folder / "run.json", run.plan)
    backend = LabBackend()
    backend.up()
    ends = carry_out(
        results,
        folders,
        backend=backend,
        backend_name="lab",
        jobs=1,
        progress=lambda folder, said: None,
        judge=summarise,
    )
    return [end.manifest.get("summary") or {"error": end.manifest.get("error")} for end in ends]


def line_of(name: str, cells: list[dict[str, Any]]) -> str:
    """Return what is said of a cell: its outcome, and in how many runs it was the same."""
    first = cells[0]
    if "outcome" not in first:
        return f"  {name}: failed, {first.get('error')}: MISSED"
    facts = [{key: cell.get(key) for key in COMPARED} for cell in cells]
    alike = sum(fact == facts[0] for fact in facts)
    is_met = alike == TIMES and first["verdict"] == "valid" and first["explanation"]
    time = first["outcome_s"]
    took = "" if time is None else f" after {time * 1e3:.3f} ms"
    content = "" if first["sha256_ok"] else ", content not as sent"
    return (
        f"  {name}: {first['outcome']}{took}{content}; {', '.join(first['proof'])}; "
        f"{alike} of {TIMES} alike: {'met' if is_met else 'MISSED'}"
    )


def main() -> None:
    """Print the table, row by row."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        for run in plan_experiment(load_experiment(SPEC, {}), SEED):
            print(line_of(str(run.plan["mode"]), repeat(run, Path(folder))))


if __name__ == "__main__":
    main()
