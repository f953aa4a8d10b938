# SPDX-License-Identifier: Apache-2.0
"""`testbed doctor`: what works here, what is missing, and the command that mends it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from testbed.cli.execute import open_backend
from testbed.cli.options import BACKEND
from testbed.doctor import LAB, Check, Status, examine, is_ready
from testbed.errors import PrerequisiteError

STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.MISSING: "bold red"}


@click.command()
@click.option(
    "--backend",
    type=BACKEND,
    default=LAB,
    show_default=True,
    help="Whose needs to check: lab, host (this machine's own kernel), ssh:USER@HOST[:PORT], or "
    "vagrant (a virtual machine).",
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def doctor(backend: str, as_json: bool) -> None:
    """Check what this machine, or another one, has for the testbed.

    Exits with 3 when the backend cannot run there.

    Example: testbed doctor --backend ssh:root@192.0.2.1
    """
    checks = examine() if backend == LAB else _examine(backend)
    ready = is_ready(checks, backend)
    if as_json:
        record = {"backends": {backend: ready}, "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(record, indent=2))
    else:
        _print_table(checks)
        for check in checks:
            if check.remedy:
                click.echo(f"to mend {check.name}: {check.remedy}")
        subject = "the lab" if backend == LAB else "runs with the backend " + backend
        click.echo(f"{subject} can run here" if ready else f"{subject} cannot run here yet")
    if not ready:
        sys.exit(PrerequisiteError.exit_code)


def _examine(backend: str) -> list[Check]:
    """Return the checks of a machine whose own kernel is to carry out runs."""
    machine = open_backend(backend)
    return [
        Check(one.name, backend, Status(one.status), one.detail, one.remedy)
        for one in machine.check()
    ]


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
