# SPDX-License-Identifier: Apache-2.0
"""`testbed grin --engine fluid --emulated RESULTS`: the model asked about runs of the lab."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.options import RunOptions
from testbed.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

# ECMP of the model for the flows of each run; what the kernel's hashes chose is one draw more.
HASHES = range(8)
Row = dict[str, Any]


def compare_all(results: Path, options: RunOptions) -> None:
    """Solve every run of a results directory, draw the runs on top, and print the differences.

    Raises:
        SpecError: the directory has no run that can be compared.
    """
    import pandas as pd

    from analysis.active_fraction import difference
    from testbed.cli.grin_fluid import write_results

    runs = _usable(results)
    if options.is_dry:
        click.echo(f"{len(runs) * len(HASHES)} solutions of the flow-level model of {results}")
        return
    topology, parameters = _network(results)
    fluid = pd.concat([_solve(results, run, topology, parameters) for run in runs])
    emulated = pd.DataFrame([{**run, "transport": _transport(run)} for run in runs])
    folder = write_results(fluid, options.out, emulated)
    table = difference(fluid, emulated)
    if options.as_json:
        found = {"results_dir": str(folder), "cells": json.loads(table.to_json(orient="records"))}
        click.echo(json.dumps(found))
    else:
        click.echo(table.round(3).to_string(index=False))
        click.echo(f"results: {folder}")


def _usable(results: Path) -> list[Row]:
    """Return what `--json` says of the runs that the model knows a law for."""
    from testbed.cli.execute import summarise
    from testbed.fluid.control import CONTROLS
    from testbed.rundir import PLAN_FILE, read_json

    path = results / PLAN_FILE
    if not path.exists():
        raise SpecError(f"--emulated: {results} is not a folder of results; it has no {PLAN_FILE}")
    rows = [summarise(results, entry["dir"]) for entry in read_json(path)["runs"]]
    found = [row for row in rows if row.get("goodput_nic") is not None
             and row["verdict"] != "invalid" and row["cc"] in CONTROLS]  # fmt: skip
    if not found:
        raise SpecError(
            f"--emulated: no run of {results} is between servers of a datacenter, usable, and of "
            f"{', '.join(CONTROLS)}; make some with 'testbed grin --cc lia'"
        )
    return found


def _network(results: Path) -> tuple[str, Row]:
    """Return name and parameters of the topology, from the stored experiment."""
    import yaml

    from testbed.rundir import SPEC_FILE

    topology = yaml.safe_load((results / SPEC_FILE).read_text())["topology"]
    if isinstance(topology, str):
        return topology, {}
    return str(topology["name"]), topology.get("parameters") or {}


def _solve(results: Path, row: Row, topology: str, parameters: Row) -> "pd.DataFrame":
    from testbed.fluid.emulated import case_of_run
    from testbed.fluid.sweep import sweep
    from testbed.rundir import read_json

    case = case_of_run(read_json(Path(row["run_dir"]) / "run.json"), topology, parameters)
    return sweep(replace(case, seed=seed) for seed in HASHES)


def _transport(row: Row) -> str:
    return "tcp" if row["mode"] == "tcp" else "mptcp"
