# SPDX-License-Identifier: Apache-2.0
"""`testbed shell`: Mininet's command line on one of our networks, in a fresh lab."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from testbed.cli.lab import own_folders, raw_terminal
from testbed.cli.options import parse_setting
from testbed.cli.parameters import MEMORY
from testbed.lab.boot import GUEST_PATH, BootOptions, GuestCommand, run_in_lab
from testbed.lab.kernel import find_kernel

TOLD = "/run/shell"

# The word for a terminal that testbed.emulation.mininet_view knows.
ASK = "ask"


@click.command()
@click.argument("topology")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of the topology, or of a link: links.3g.queue='200 ms'. May be repeated.",
)
@click.option(
    "--command",
    "commands",
    multiple=True,
    metavar="LINE",
    help="Carry out this line and end; may be repeated. Without it: ask, or read standard input.",
)
@click.option("--virtual-time", is_flag=True, help="Let the clock skip idle time.")
@click.option("--memory", type=MEMORY, default="1G", show_default=True, help="Memory of the lab.")
@click.option("--kernel", type=click.Path(path_type=Path), help="Boot this kernel file.")
def shell(
    topology: str,
    settings: tuple[str, ...],
    commands: tuple[str, ...],
    virtual_time: bool,
    memory: int,
    kernel: Path | None,
) -> None:
    """Open Mininet's command line on the network TOPOLOGY, in a fresh lab, in real time.

    TOPOLOGY is a name such as underground, or a file of your own with topos = {...}, as `mn
    --custom` takes; FILE.py:NAME if it has several. `help` lists what the command line knows. Exits
    with the status of the first command that failed, of those that were not typed.

    Example: testbed shell underground --command 'laptop ping -c 1 proxy'
    """
    from testbed.plan.shell import plan_shell

    plain = plan_shell(topology, dict(parse_setting(text) for text in settings))
    is_asking = not commands and sys.stdin is not None and sys.stdin.isatty()
    told = {"topology": plain, "commands": ASK if is_asking else list(commands) or None}
    options = BootOptions(memory_bytes=memory, is_real_time=not virtual_time)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "shell.json").write_text(json.dumps(told))
        command = _guest_command(Path(folder))
        lab: dict[str, Any] = {"kernel": kernel or find_kernel().path, "options": options}
        if is_asking:
            with raw_terminal():
                status = run_in_lab(command, terminal=os.ttyname(sys.stdin.fileno()), **lab)
        else:
            status = run_in_lab(
                command,
                stdin=sys.stdin.buffer if sys.stdin and not commands else None,
                stdout=sys.stdout.buffer,
                stderr=sys.stderr.buffer,
                **lab,
            )
    sys.exit(status)


def _guest_command(folder: Path) -> GuestCommand:
    # Mininet is among the installed packages; what it imports is deprecated since Python 3.10.
    argv = [sys.executable, "-P", "-W", "ignore", "-m", "testbed.emulation.mininet_view"]
    env = {
        "PATH": f"{os.environ.get('PATH', '')}:{GUEST_PATH}",
        "TERM": os.environ.get("TERM", "linux"),
    }
    if sys.stdout.isatty():
        size = os.get_terminal_size()
        env |= {"COLUMNS": str(size.columns), "LINES": str(size.lines)}
    return GuestCommand(
        [*argv, f"{TOLD}/shell.json"],
        env=env,
        cwd=Path.cwd(),
        visible=own_folders(),
        mounts={TOLD: folder},
    )
