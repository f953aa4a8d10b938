# SPDX-License-Identifier: Apache-2.0
"""What commands do with what an experiment expects: refuse, judge, print."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.plan import PlannedRun
from testbed.rundir import PLAN_FILE, read_json
from testbed.spec.load import Experiment

if TYPE_CHECKING:
    from analysis.expectations import Outcome


def check_expectations(
    experiment: Experiment, runs: Sequence[PlannedRun], *, is_strict: bool = False
) -> None:
    """Refuse expectations that could never be met.

    Raises:
        PlanError: one is about a number, a key or, if that is asked, a cell that is not there.
    """
    if not experiment.spec.expect:
        return
    from analysis.expectations import check_numbers
    from testbed.plan.expect import plan_expectations

    paths = {path["name"] for run in runs for path in run.plan["topology"]["paths"]}
    check_numbers(plan_expectations(experiment, is_strict=is_strict), sorted(paths))


def expectations(results: Path) -> "list[Outcome]":
    """Return what became of what the experiment expects; nothing is read if it expects nothing."""
    plan = results / PLAN_FILE
    if not plan.exists() or not read_json(plan).get("expect"):
        return []
    from analysis.expectations import judge_expectations
    from analysis.runs import read_results

    return judge_expectations(read_results(results))


def described(outcomes: "Sequence[Outcome]") -> dict[str, Any]:
    """Return them for `--json`; nothing if there are none."""
    found = [asdict(outcome) for outcome in outcomes]
    return {"expectations": found} if found else {}


def print_expectations(outcomes: "Sequence[Outcome]") -> None:
    """Print a line for each."""
    for outcome in outcomes:
        click.echo(f"{outcome.status:10} {outcome.sentence}")
