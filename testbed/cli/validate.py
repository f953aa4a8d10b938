# SPDX-License-Identifier: Apache-2.0
"""`testbed validate`: says whether experiment files can be carried out, and if not, why."""

import json
import sys
from pathlib import Path

import click

from testbed.cli.printing import printable
from testbed.errors import SpecError, TestbedError


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def validate(files: tuple[Path, ...], as_json: bool) -> None:
    """Check experiment FILES: form, meaning, traces. Nothing is built or run.

    Exits with 2 if one of them is wrong; every problem of every file is printed.

    Example: testbed validate experiments/*.yaml
    """
    found = {str(file): _problems(file) for file in files}
    if as_json:
        click.echo(json.dumps({"files": found}))
    for file, problems in found.items() if not as_json else ():
        if not problems:
            click.echo(f"{file}: well formed")
        for problem in problems:
            click.echo(printable(problem), err=True)
    sys.exit(SpecError.exit_code if any(found.values()) else 0)


def _problems(file: Path) -> list[str]:
    """Return the sentences about what is wrong with a file."""
    from testbed.cli.expectations import check_expectations
    from testbed.plan import plan_experiment
    from testbed.spec.load import load_experiment

    try:
        experiment = load_experiment(file)
        runs = plan_experiment(experiment, repetitions=1)
        check_expectations(experiment, runs, is_strict=True)
    except SpecError as error:
        return str(error).splitlines()
    except TestbedError as error:
        return [f"{file}: {error}"]
    return []
