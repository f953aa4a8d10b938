# SPDX-License-Identifier: Apache-2.0
"""What every command that carries out runs does: plan, run, judge, report, print."""

import json
import random
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.expectations import (
    check_expectations,
    described,
    expectations,
    print_expectations,
)
from testbed.cli.options import RunOptions
from testbed.cli.printing import printable
from testbed.cli.run_progress import RunProgress
from testbed.errors import PrerequisiteError, TestbedError
from testbed.plan import PlannedRun
from testbed.rundir import PLAN_FILE, read_json
from testbed.spec.load import Experiment

if TYPE_CHECKING:
    from testbed.backends.base import Backend
    from testbed.orchestrate import RunEnd

Summary = dict[str, Any]


def execute(experiment: Experiment, options: RunOptions, *, is_shuffled: bool = False) -> None:
    """Carry out an experiment and exit with its code.

    Args:
        experiment: the loaded file, with what the command line says.
        options: the shared options.
        is_shuffled: whether the runs are carried out in a random order, always the same, so that
            a sweep that is cut short has something of every cell.
    """
    from testbed.backends import check_plans
    from testbed.plan import plan_experiment

    runs = plan_experiment(experiment, options.seed, options.repetitions)
    check_expectations(experiment, runs)
    check_plans(options.backend, (run.plan for run in runs))
    if options.is_dry:
        _print_plan(experiment, runs, options)
        return
    backend = open_backend(options.backend)
    # Before there is a folder of results that says nothing.
    bring_up(backend, quiet=options.as_json)
    results = open_results(experiment, runs, options)
    folders = [run_path(run) for run in runs]
    if is_shuffled:
        random.Random(len(folders)).shuffle(folders)
    go_on(results, folders, options, backend)


def run_path(run: PlannedRun) -> str:
    """Return the folder of a planned run, relative to the results."""
    from testbed.rundir import run_folder

    return run_folder(run.key, run.repetition)


def open_backend(name: str) -> "Backend":
    """Return the backend of a name; a password is asked for where somebody can answer."""
    from testbed.backends import make_backend

    is_asking = sys.stdin is not None and sys.stdin.isatty()
    return make_backend(name, _ask_password if is_asking else None)


def bring_up(backend: "Backend", *, quiet: bool) -> None:
    """Make sure that a backend can be used, and show how far it is if that takes minutes."""
    if quiet or not backend.comes_up_slowly:
        backend.up()
        return
    from testbed.cli.progress import show_progress

    with show_progress() as report:
        backend.report = report
        backend.up()


def _ask_password(question: str) -> str:
    answer: str = click.prompt(question, hide_input=True, err=True)
    return answer


def open_results(experiment: Experiment, runs: Sequence[PlannedRun], options: RunOptions) -> Path:
    """Make the results directory with everything that is known before the first run."""
    from testbed.plan import plan_hash
    from testbed.plan.expect import plan_expectations
    from testbed.rundir import SPEC_FILE, new_results_dir, write_atomically, write_json
    from testbed.spec.write import spec_text

    spec = experiment.spec
    results = new_results_dir(options.out, spec.name, plan_hash([run.plan for run in runs]))
    write_atomically(results / SPEC_FILE, spec_text(experiment, options.seed, options.repetitions))
    entries = [
        {
            "dir": run_path(run),
            "varied": run.varied,
            "seed": run.plan["seed"],
            "repetition": run.repetition,
        }
        for run in runs
    ]
    for run in runs:
        folder = results / run_path(run)
        folder.mkdir(parents=True)
        write_json(folder / "run.json", run.plan)
    plan = {
        "schema": 2,
        "experiment": spec.name,
        "question": spec.question,
        "varies": list(runs[0].varied),
        "backend": options.backend,
        "command": ["testbed", *sys.argv[1:]],
        "runs": entries,
        "expect": plan_expectations(experiment),
    }
    write_json(results / PLAN_FILE, plan)
    return results


def go_on(results: Path, folders: Sequence[str], options: RunOptions, backend: "Backend") -> None:
    """Carry out runs of a results directory, write its report, print, and exit."""
    try:
        ends = carry_out_all(results, folders, options, backend) if folders else []
        report = write_page(results, quiet=options.as_json)
    except KeyboardInterrupt:
        again = shlex.join(["testbed", "resume", str(results)])
        click.echo(f"testbed: go on with '{again}'", err=True)
        raise
    codes = [end.exit_code for end in ends]
    summaries = [
        summarise(results, entry["dir"]) for entry in read_json(results / PLAN_FILE)["runs"]
    ]
    outcomes = expectations(results)
    if options.as_json:
        page = None if report is None else str(report)
        found = {"results_dir": str(results), "report": page, "runs": summaries}
        click.echo(json.dumps({**found, **described(outcomes)}))
    else:
        from testbed.cli.run_table import print_runs

        print_runs(summaries)
        print_expectations(outcomes)
        click.echo(f"results: {results}")
        if report is not None:
            click.echo(f"report:  {report}")
    is_missed = any(outcome.is_missed for outcome in outcomes)
    sys.exit(_exit_code(summaries, codes) or int(is_missed))


def carry_out_all(
    results: Path, folders: Sequence[str], options: RunOptions, backend: "Backend"
) -> "list[RunEnd]":
    """Carry out runs of a results directory while their progress is shown."""
    from testbed.cli.judging import judges
    from testbed.orchestrate import carry_out

    shown = {folder: _shown(results / folder) for folder in folders}
    jobs = min(options.jobs, len(folders), backend.most_at_once or len(folders))
    with (
        RunProgress(shown, quiet=options.as_json) as progress,
        judges(jobs) as judge,
    ):
        return carry_out(
            results,
            folders,
            backend=backend,
            backend_name=options.backend,
            jobs=jobs,
            progress=progress.update,
            judge=judge,
        )


def _shown(run_dir: Path) -> tuple[str, float]:
    """Return name and longest time of a run, for people."""
    from testbed.cli.run_table import run_name

    plan = read_json(run_dir / "run.json")
    return run_name(plan), plan["duration_s"]


def write_page(results: Path, *, quiet: bool) -> Path | None:
    """Write the page; the runs are good without it, so a failure is only said."""
    from analysis.overview import write_overview

    if not quiet:
        click.echo("drawing figures over all runs", err=True)
    try:
        return write_overview(results)
    except (OSError, TestbedError) as error:
        click.echo(
            printable(f"testbed: there is no report: {error}; try 'testbed report {results}'"),
            err=True,
        )
        return None


def summarise(results: Path, folder: str) -> Summary:
    """Return what `--json` says of a run, also of one that did not end."""
    run_dir = results / folder
    plan = read_json(run_dir / "run.json")
    path = run_dir / "manifest.json"
    manifest = read_json(path) if path.exists() else {}
    found = manifest.get("summary", {})
    error = manifest.get("error") or ("it did not end" if not manifest else None)
    return {
        "run_dir": str(run_dir),
        "mode": plan["mode"],
        "varied": plan["varied"],
        "seed": plan["seed"],
        "backend": manifest.get("backend"),
        "status": manifest.get("status", "unfinished"),
        "error": error,
        "virtual_s": manifest.get("virtual_s"),
        "wall_s": manifest.get("wall_s"),
        "goodput_mbps": None,
        "download_s": None,
        "handover_gap_max_s": None,
        "bytes_per_path": None,
        "verdict": "invalid",
        "verdict_reasons": [error] if error else [],
        **_datacenter_facts(plan),
        "notes": [],
        **{key: value for key, value in found.items() if key not in ("virtual_s", "wall_s")},
    }


def _datacenter_facts(plan: dict[str, Any]) -> Summary:
    """Return what is known of a run between servers before it has been carried out."""
    about = plan["topology"].get("datacenter")
    if about is None:
        return {}
    return {
        "spare_ports": about["spare_ports"],
        "active_fraction": plan["workload"]["active_fraction"],
        "cc": plan["mptcp"]["congestion_control"],
        "subflows": about["subflows"],
        "goodput_nic": None,
        "oracle_nic": None,
        "optimum_nic": None,
        "lender_goodput_nic": None,
    }


def _exit_code(summaries: Sequence[Summary], codes: Sequence[int]) -> int:
    """Return 3 if every run lacked something of the machine, 1 if not all are valid, or 0."""
    if codes and all(code == PrerequisiteError.exit_code for code in codes):
        return PrerequisiteError.exit_code
    return 0 if all(run["verdict"] == "valid" for run in summaries) else 1


def _print_plan(experiment: Experiment, runs: Sequence[PlannedRun], options: RunOptions) -> None:
    if options.as_json:
        found = {"runs": [{"dir": run_path(run), **run.plan} for run in runs]}
        click.echo(json.dumps(found))
        return
    from testbed.cli.plan_text import plan_lines

    for line in plan_lines(experiment, runs, options.backend):
        click.echo(printable(line))
