# SPDX-License-Identifier: Apache-2.0
"""`testbed lab`: a command or a shell in a fresh lab."""

import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from testbed.cli.parameters import MEMORY
from testbed.errors import SpecError
from testbed.lab.boot import GUEST_PATH, BootOptions, GuestCommand, run_in_lab
from testbed.lab.kernel import PROJECT_ROOT, find_kernel


@click.group()
def lab() -> None:
    """Run something in a fresh lab: our own kernel as an ordinary process."""


def _boot_parameters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--kernel", type=click.Path(path_type=Path), help="Boot this kernel file."),
        click.option(
            "--memory", type=MEMORY, default="1G", show_default=True, help="Memory of the lab."
        ),
        click.option(
            "--share",
            type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
            help="Folder the lab may write to, at /run/testbed there.",
        ),
    ):
        command = option(command)
    return command


@lab.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@_boot_parameters
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=1, show_default=True)
@click.option("--real-time", is_flag=True, help="Let the clock follow the host's.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    seed: int,
    real_time: bool,
    memory: int,
    kernel: Path | None,
    share: Path | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND in a fresh lab, with its standard streams and exit status.

    The lab sees this machine's files, read-only; /tmp, /var, /run and /dev are its own. A
    terminal is not passed on as standard input: use `testbed lab shell`.

    Example: testbed lab exec --seed 7 -- sleep 1000
    """
    status = run_in_lab(
        GuestCommand(
            command,
            env={"PATH": f"{os.environ.get('PATH', '')}:{GUEST_PATH}"},
            cwd=Path.cwd(),
            visible=own_folders(),
        ),
        kernel=kernel or find_kernel().path,
        options=BootOptions(seed=seed, memory_bytes=memory, is_real_time=real_time),
        share=share,
        stdin=sys.stdin.buffer if sys.stdin else None,
        stdout=sys.stdout.buffer,
        stderr=sys.stderr.buffer,
    )
    sys.exit(status)


@lab.command()
@_boot_parameters
def shell(memory: int, kernel: Path | None, share: Path | None) -> None:
    """Open an interactive root shell in a fresh lab, in real time.

    Example: testbed lab shell --share results
    """
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise SpecError("a shell needs a terminal; use 'testbed lab exec -- COMMAND'")
    size = os.get_terminal_size()
    command = GuestCommand(
        ["/bin/bash", "--norc", "-i"],
        env={
            "TERM": os.environ.get("TERM", "linux"),
            "PS1": r"lab:\w# ",
            "COLUMNS": str(size.columns),
            "LINES": str(size.lines),
        },
        cwd=Path.cwd(),
        visible=own_folders(),
    )
    with raw_terminal():
        status = run_in_lab(
            command,
            kernel=kernel or find_kernel().path,
            options=BootOptions(memory_bytes=memory, is_real_time=True),
            share=share,
            terminal=os.ttyname(sys.stdin.fileno()),
        )
    sys.exit(status)


def own_folders() -> tuple[Path, ...]:
    """Return what a user expects to find in the lab wherever it lies on this machine."""
    return Path.cwd(), PROJECT_ROOT, Path(sys.prefix), Path(sys.base_prefix)


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Leave the line discipline to the guest while its shell runs."""
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
