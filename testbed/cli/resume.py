# SPDX-License-Identifier: Apache-2.0
"""`testbed resume`: carries out the runs of a call that was interrupted."""

from pathlib import Path
from typing import Any

import click

from testbed.cli.execute import bring_up, go_on, open_backend
from testbed.cli.options import OPTIONS, RunOptions
from testbed.errors import SpecError
from testbed.rundir import PLAN_FILE, newest_results_dir, read_json


def _shared(command: Any) -> Any:
    """Add those of the shared options that can still be chosen."""
    for option in reversed(OPTIONS[-3:-1]):
        command = option(command)
    return command


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_shared
def resume(directory: Path, jobs: int, as_json: bool) -> None:
    """Carry out the runs in DIRECTORY that are not complete, and write its report again.

    DIRECTORY is the results directory of a call of `run` or of a use case's command, or a folder
    of them, of which the newest is taken.

    Example: testbed resume results/offload
    """
    from testbed.orchestrate import open_runs

    directory = newest_results_dir(directory)
    if not (directory / PLAN_FILE).exists():
        raise SpecError(f"{directory} is no results directory: there is no {PLAN_FILE} in it")
    backend = read_json(directory / PLAN_FILE)["backend"]
    options = RunOptions(None, None, directory, backend, jobs, as_json, False, {})
    folders = open_runs(directory)
    if not folders and not as_json:
        click.echo("all runs are complete", err=True)
    machine = open_backend(backend)
    if folders:
        bring_up(machine, quiet=as_json)
    go_on(directory, folders, options, machine)
