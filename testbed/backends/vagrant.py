# SPDX-License-Identifier: Apache-2.0
"""The virtual machine of `testbed vm` as a backend: brought up if need be, then used over SSH.

Debian's kernel has no coupled congestion control, so a run that asks for LIA gets it as a BPF
program, for as long as the run lasts; the runner refuses others, and lists what there is. Our own
kernel has all of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.backends.base import Backend, Progress
from testbed.backends.remote.address import SshTarget
from testbed.backends.ssh import SshBackend
from testbed.errors import BackendError, CommandError
from testbed.lab.watch import Report
from testbed.process import run
from testbed.rundir import read_json
from testbed.target.machine import Finding
from testbed.vm import control
from testbed.vm.machine import Connection, Machine, ssh_argv
from testbed.vm.places import recorded_vm

# Where the box has its programs, compiled there.
PROGRAMS = "/usr/local/lib/mptcp-testbed"
BPF_CONTROLS = ("lia",)
KNOWN_CONTROLS = "/proc/sys/net/ipv4/tcp_available_congestion_control"
COMMAND_TIMEOUT_S = 120.0


class VagrantBackend(Backend):
    """Carries out runs in the virtual machine, one at a time."""

    most_at_once = 1
    comes_up_slowly = True

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._ssh: SshBackend | None = None
        self._facts: dict[str, Any] = {}

    def up(self) -> dict[str, Any]:
        """Bring the machine up as `testbed vm up` does, with its defaults, and check it once."""
        if self._facts:
            return self._facts
        machine = self._machine(self.report)
        self._connection = machine.connection()
        self._ssh = SshBackend(ssh_target(self._connection))
        self.report("check the virtual machine", None)
        processor = "kvm" if machine.vm.is_accelerated else "emulated"
        about = {"provider": machine.vm.provider, "processor": processor, "box": machine.vm.box}
        self._facts = {**self._ssh.up(), "virtual_machine": about}
        return self._facts

    def check(self) -> list[Finding]:
        """Return what the virtual machine has and lacks; it is brought up for that."""
        self.up()
        assert self._ssh is not None
        return self._ssh.check()

    def run(self, run_dir: Path, seed: int, progress: Progress, cancelled: threading.Event) -> int:
        """Load what the run needs, carry it out over SSH, and unload it."""
        assert self._ssh is not None and self._connection is not None, "up() comes first"
        wanted = (read_json(run_dir / "run.json")["mptcp"] or {}).get("congestion_control", "")
        with loaded(self._connection, wanted):
            return self._ssh.run(run_dir, seed, progress, cancelled)

    def _machine(self, report: Report) -> Machine:
        vm = recorded_vm()
        return control.up(control.Wish() if vm is None else control.wish_of(vm), report)


def ssh_target(connection: Connection) -> SshTarget:
    """Return a machine that is known by its key and let in by ours, and serves nobody else."""
    return SshTarget(
        host=connection.host,
        port=connection.port,
        user=connection.user,
        key_files=(connection.key,),
        host_keys=(connection.host_key,),
        is_own=True,
        name="the virtual machine",
    )


@contextmanager
def loaded(connection: Connection, congestion_control: str) -> Iterator[None]:
    """Have a congestion control in the machine's kernel if there is a BPF program of that name.

    A kernel that has one of that name of its own is left as it is.

    Raises:
        BackendError: the kernel refuses it.
    """
    if congestion_control not in BPF_CONTROLS:
        yield
        return
    # What an earlier run left that could not end in order is of the same name.
    unload = ["sudo", "bpftool", "struct_ops", "unregister", "name", congestion_control]
    _try(connection, unload)
    if congestion_control in run_there(connection, ["cat", KNOWN_CONTROLS]).split():
        yield
        return
    file = f"{PROGRAMS}/{congestion_control}.bpf.o"
    try:
        run_there(connection, ["sudo", "bpftool", "struct_ops", "register", file])
    except CommandError as error:
        raise BackendError(
            f"the virtual machine's kernel does not take the BPF program of {congestion_control}: "
            f"{error}; choose cubic or reno, which do not couple subflows"
        ) from error
    try:
        yield
    finally:
        _try(connection, unload)


def run_there(connection: Connection, words: list[str]) -> str:
    """Run a command in the machine and return its output.

    Args:
        connection: to the machine.
        words: fixed ones, without a character that a shell would take for its own.
    """
    argv = [*ssh_argv(connection, is_batch=True), *words]
    return run(argv, timeout_s=COMMAND_TIMEOUT_S)


def _try(connection: Connection, words: list[str]) -> None:
    try:
        run_there(connection, words)
    except CommandError:
        return  # there was none
