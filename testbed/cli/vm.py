# SPDX-License-Identifier: Apache-2.0
"""`testbed vm`: a virtual machine with an ordinary MPTCP kernel, through Vagrant or plain QEMU."""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.parameters import MEMORY
from testbed.cli.progress import Report, show_progress
from testbed.errors import BackendError, PrerequisiteError
from testbed.vm.archive import DEFAULT_KERNEL, KERNELS, Archive

if TYPE_CHECKING:
    from testbed.vm.machine import Machine

as_json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@click.group()
def vm() -> None:
    """A virtual machine with an ordinary MPTCP kernel, for --backend vagrant."""


@vm.command("build-box")
@click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    default=DEFAULT_KERNEL,
    show_default=True,
    help="Debian 13's kernel from trixie-backports, the same version as the lab's; Debian 13's "
    "own; or ours, of 'kernel build --for vm'.",
)
@click.option("--mirror", metavar="URI", help="A mirror of Debian.  [default: that of apt here]")
@click.option("--virtualbox", is_flag=True, help="Make a box for VirtualBox too.")
@click.option("--force", is_flag=True, help="Fetch the packages again and build again.")
@as_json_option
def build_box(
    kernel: str, mirror: str | None, virtualbox: bool, force: bool, as_json: bool
) -> None:
    """Build the machine's disk from Debian's packages; nothing else is downloaded.

    It takes root, some minutes and 5 GB of disk while it lasts; with sudo, the box is yours. A box
    that was built for this state of vagrant/ is used again.
    """
    from testbed.vm import box as boxes
    from testbed.vm.box_kernel import box_kernel
    from testbed.vm.control import describe_default
    from testbed.vm.debian import find_archive
    from testbed.vm.owner import acting_for, invoking_user

    started_s = time.monotonic()
    with acting_for(invoking_user(os.environ, os.geteuid())):
        built = None if force else _box_or_none(kernel)
        if built is None:
            boxes.check_buildable()
            chosen = box_kernel(kernel)
            archive = Archive(mirror, "") if mirror else find_archive()
            with _progress(as_json) as report, boxes.build_lock(report):
                built = boxes.build_box(archive, chosen, report, for_virtualbox=virtualbox)
        describe_default(kernel)
    seconds = round(time.monotonic() - started_s, 1)
    record = {
        "box": built.id,
        "folder": str(built.folder),
        "kernel": built.kernel,
        "built": built.built,
        "size_bytes": built.size_bytes,
        "wall_s": seconds,
    }
    text = f"the box {built.id} is ready ({built.size_bytes / 1e9:.2f} GB): {built.folder}"
    _say(record, text, as_json)


@vm.command()
@click.option(
    "--provider",
    type=click.Choice(["auto", "libvirt", "virtualbox", "qemu"]),
    default="auto",
    show_default=True,
    help="Who runs the machine; qemu needs no root.",
)
@click.option(
    "--acceleration",
    type=click.Choice(["auto", "kvm", "none"]),
    default="auto",
    envvar="TESTBED_VM_ACCELERATION",
    show_default=True,
    show_envvar=True,
    help="auto tries whether a kernel boots with KVM.",
)
@click.option("--memory", type=MEMORY, default="2G", show_default=True, help="Of the machine.")
@click.option(
    "--processors",
    type=click.IntRange(1, 64),
    help="Of the machine.  [default: 1 emulated, or as many as this machine has, up to 4]",
)
@click.option("--name", default="mptcp-testbed", show_default=True, help="Of the machine.")
@click.option(
    "--box",
    metavar="NAME",
    help="A Debian 13 box from elsewhere, such as "
    "debian/trixie64; the packages are installed when it boots first.",
)
@click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    help="Which of several boxes.  [default: the one that was built last]",
)
@as_json_option
def up(
    provider: str,
    acceleration: str,
    memory: float,
    processors: int | None,
    name: str,
    box: str | None,
    kernel: str | None,
    as_json: bool,
) -> None:
    """Make the machine, or start it again, and wait until one can log in."""
    from testbed.vm import control

    started_s = time.monotonic()
    wish = control.Wish(
        name, provider, acceleration, round(memory / 2**20), processors, box, kernel
    )
    with _progress(as_json) as report:
        machine = control.up(wish, report)
    record = _record(machine) | {"wall_s": round(time.monotonic() - started_s, 1)}
    text = f"the virtual machine \"{machine.vm.name}\" runs; log in with 'testbed vm ssh'"
    _say(record, text, as_json)


@vm.command()
@as_json_option
def status(as_json: bool) -> None:
    """Show whether the machine runs, what it is like and how to reach it."""
    from testbed.vm.places import recorded_vm

    if recorded_vm() is None:
        _say({"state": "absent"}, "there is no virtual machine of the testbed", as_json)
        return
    record = _record(_existing())
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in record.items()]
    _say(record, "\n".join(lines), as_json)


@vm.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@as_json_option
def ssh(command: tuple[str, ...], as_json: bool) -> None:
    """Log in to the machine, or run COMMAND in it.

    A COMMAND of one word is a line for the machine's shell; of several, their words are kept.
    With --json: print how any SSH client can log in, and do not.
    """
    from testbed.vm.machine import ssh_argv

    machine = _running()
    argv = ssh_argv(machine.connection())
    if as_json:
        click.echo(json.dumps({**_record(machine), "argv": argv}, indent=2))
        return
    if not command:
        argv.insert(1, "-t")
    line = command[0] if len(command) == 1 else shlex.join(command)
    os.execvp(argv[0], [*argv, *([line] if command else [])])


@vm.command()
@as_json_option
def halt(as_json: bool) -> None:
    """Shut the machine down; its disk stays."""
    _end(lambda machine, report: machine.halt(report), "is off", as_json)


@vm.command()
@click.option("--force", is_flag=True, help="Forget it even if it cannot be removed in order.")
@as_json_option
def destroy(force: bool, as_json: bool) -> None:
    """Remove the machine and its disk; the box stays."""
    from testbed.vm import control

    try:
        _end(control.destroy, "is removed", as_json)
    except (BackendError, PrerequisiteError):
        if not force:
            raise
        control.forget_broken()
        _say({"state": "absent"}, "the virtual machine is forgotten", as_json)


def _end(action: "Callable[[Machine, Report], None]", what: str, as_json: bool) -> None:
    from testbed.vm.places import recorded_vm

    if recorded_vm() is None:
        _say({"state": "absent"}, "there is no virtual machine of the testbed", as_json)
        return
    machine = _existing()
    with _progress(as_json) as report:
        action(machine, report)
    state = {"is off": "off", "is removed": "absent"}[what]
    _say(
        {"name": machine.vm.name, "state": state},
        f'the virtual machine "{machine.vm.name}" {what}',
        as_json,
    )


def _existing() -> "Machine":
    from testbed.vm.control import existing

    return existing()


def _running() -> "Machine":
    machine = _existing()
    if (state := machine.state()) != "running":
        raise PrerequisiteError(
            f"the virtual machine \"{machine.vm.name}\" is {state}; start it with 'testbed vm up'"
        )
    return machine


def _record(machine: "Machine") -> dict[str, Any]:
    state = machine.state()
    found: dict[str, Any] = {
        "name": machine.vm.name,
        "state": str(state),
        "provider": machine.vm.provider,
        "acceleration": "kvm" if machine.vm.is_accelerated else "none",
        "memory_mib": machine.vm.memory_mib,
        "processors": machine.vm.processors,
        "box": machine.vm.box,
    }
    if state == "running":
        connection = machine.connection()
        found |= {
            "host": connection.host,
            "port": connection.port,
            "user": connection.user,
            "key": str(connection.key),
            "host_key": connection.host_key,
        }
    return found


def _box_or_none(kernel: str) -> Any:
    from testbed.vm.box import find_box

    try:
        return find_box(kernel)
    except PrerequisiteError as error:
        if "no box has been built" in str(error) or "incomplete" in str(error):
            return None
        raise


@contextmanager
def _progress(as_json: bool) -> Iterator[Report]:
    shown = nullcontext(lambda stage, fraction: None) if as_json else show_progress()
    with shown as report:
        yield report


def _say(record: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(record, indent=2) if as_json else text)
