# SPDX-License-Identifier: Apache-2.0
"""`testbed doctor`: what works here, what is missing, and the command that mends it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from testbed.doctor import LAB, Check, Status, examine, is_ready
from testbed.errors import PrerequisiteError

STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def doctor(as_json: bool) -> None:
    """Check what this machine has for the testbed.

    Exits with 3 when the lab cannot run here.
    """
    checks = examine()
    ready = is_ready(checks)
    if as_json:
        record = {"backends": {LAB: ready}, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(record, indent=2))
    else:
        _print_table(checks)
        for check in checks:
            if check.remedy:
                click.echo(f"to mend {check.name}: {check.remedy}")
        click.echo("the lab can run here" if ready else "the lab cannot run here yet")
    if not ready:
        sys.exit(PrerequisiteError.exit_code)


def _print_table(checks: Sequence[Check]) -> None:
    # Imported here: --json needs no rich.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("backend", "feature", "status", "found", box=None)
    for check in checks:
        status = f"[{STYLES[check.status]}]{check.status}[/]"
        table.add_row(check.backend, check.name, status, escape(check.detail))
    Console().print(table)
