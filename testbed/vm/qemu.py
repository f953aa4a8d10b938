# SPDX-License-Identifier: Apache-2.0
"""The virtual machine as one QEMU process of this user: no Vagrant, no libvirt, no root.

Its network is QEMU's own: the guest reaches nothing, and only SSH, on this machine's loopback
interface, reaches the guest.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.lab.cache import remove_folder
from testbed.lab.host import available_memory_bytes
from testbed.lab.watch import Report
from testbed.process import run
from testbed.vm.acceleration import QEMU
from testbed.vm.box import Box
from testbed.vm.machine import Connection, Machine, State, try_login
from testbed.vm.places import EMULATED_ICOUNT_SHIFT, Vm, state_dir

BOOT_TIMEOUT_S = 900.0
HALT_TIMEOUT_S = 180.0
KILL_TIMEOUT_S = 10.0
POLL_S = 0.5
LOOPBACK = "127.0.0.1"
ICOUNT = f"shift={EMULATED_ICOUNT_SHIFT},sleep=on"


def qemu_argv(vm: Vm, folder: Path) -> list[str]:
    """Return QEMU's command line; it depends on nothing but its arguments."""
    processor = (
        ["-accel", "kvm", "-cpu", "host"]
        if vm.is_accelerated
        # A processor whose clock counts instructions: delays and rates hardly depend on how
        # busy this machine is.
        else [*("-accel", "tcg", "-cpu", "qemu64"), *("-icount", ICOUNT)]
    )
    forward = f"hostfwd=tcp:{LOOPBACK}:{vm.ssh_port}-:22"
    return [
        QEMU,
        *("-name", vm.name, "-machine", "pc"),
        *processor,
        *("-smp", str(vm.processors), "-m", str(vm.memory_mib)),
        *("-nodefaults", "-display", "none"),
        *("-drive", f"file={folder / 'disk.qcow2'},if=virtio,format=qcow2,cache=unsafe"),
        *("-nic", f"user,model=virtio-net-pci,restrict=on,{forward}"),
        *("-serial", f"file:{folder / 'console.log'}"),
        *("-qmp", f"unix:{folder / 'control'},server=on,wait=off"),
        *("-pidfile", str(folder / "pid"), "-daemonize"),
    ]


def free_port() -> int:
    """Return a port of the loopback interface at which nobody listens."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class QemuMachine(Machine):
    """One QEMU process, found again by its pid file.

    Args:
        vm: as it was asked for.
        box: whose disk it begins with.
    """

    def __init__(self, vm: Vm, box: Box) -> None:
        super().__init__(vm)
        self._box = box
        self._folder = state_dir() / "qemu" / vm.name

    def check(self) -> None:
        """Look for QEMU and for the memory."""
        for program, package in ((QEMU, "qemu-system-x86"), ("qemu-img", "qemu-utils")):
            if not shutil.which(program):
                raise PrerequisiteError(
                    f"this machine has no {program}; run './setup vm', or "
                    f"'apt-get install --no-install-recommends {package}'"
                )
        if self.state() != State.RUNNING and (free := available_memory_bytes()) < (
            self.vm.memory_mib * 2**20
        ):
            raise PrerequisiteError(
                f"a virtual machine with {self.vm.memory_mib} MiB of memory does not fit: "
                f"{free / 2**20:.0f} MiB are available; give it less with --memory"
            )

    def start(self, report: Report) -> None:
        """Boot on a disk of its own that begins as the box's."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk = self._folder / "disk.qcow2"
        if not disk.exists():
            report("make the machine's disk", None)
            source = self._box.folder / "box.img"
            kinds = ["-f", "qcow2", "-F", "qcow2", "-b", str(source)]
            run(["qemu-img", "create", "-q", *kinds, str(disk)], timeout_s=60)
        report("start QEMU", None)
        try:
            run(qemu_argv(self.vm, self._folder), timeout_s=60)
        except CommandError as error:
            raise BackendError(f"the virtual machine cannot be started: {error}") from error
        self._wait_for_login(report)

    def state(self) -> State:
        """Look for the process and the disk."""
        if self._pid() is not None:
            return State.RUNNING
        return State.OFF if (self._folder / "disk.qcow2").exists() else State.ABSENT

    def halt(self, report: Report) -> None:
        """Press its power button; after HALT_TIMEOUT_S, pull the plug."""
        report("shut down", None)
        with contextlib.suppress(OSError):
            send_command(self._folder / "control", "system_powerdown")
        if not self._wait_for_end(HALT_TIMEOUT_S):
            self._kill()

    def destroy(self, report: Report) -> None:
        """Pull the plug and remove the folder."""
        report("remove the machine", None)
        self._kill()
        remove_folder(self._folder)

    def connection(self) -> Connection:
        """Return the forwarded port."""
        key = self._box.folder / "user"
        return Connection(LOOPBACK, self.vm.ssh_port, "vagrant", key, self._box.host_key)

    def _wait_for_login(self, report: Report) -> None:
        deadline_s = time.monotonic() + BOOT_TIMEOUT_S
        problem = ""
        while time.monotonic() < deadline_s:
            report("boot", None)
            if self._pid() is None:
                raise BackendError(
                    f"the virtual machine ended while it booted; see {self._folder}/console.log"
                )
            if not (problem := try_login(self.connection())):
                return
            time.sleep(POLL_S)
        raise BackendError(
            f"nobody could log in to the virtual machine within {BOOT_TIMEOUT_S:.0f} s "
            f"({problem}); see {self._folder}/console.log"
        )

    def _pid(self) -> int | None:
        """Return the pid of our QEMU; a pid that somebody else has by now is not ours."""
        try:
            pid = int((self._folder / "pid").read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        is_ours = str(self._folder / "pid").encode() in words
        return pid if is_ours else None

    def _kill(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if (pid := self._pid()) is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            self._wait_for_end(KILL_TIMEOUT_S)

    def _wait_for_end(self, timeout_s: float) -> bool:
        return wait_until(lambda: self._pid() is None, timeout_s)


def wait_until(is_so: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until something is so, and say whether it became so."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def send_command(control: Path, command: str) -> None:
    """Send one command to a QEMU's control socket.

    Raises:
        OSError: nobody listens there.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(control))
        replies = connection.makefile("rb")
        replies.readline()  # its greeting
        for name in ("qmp_capabilities", command):
            connection.sendall(json.dumps({"execute": name}).encode() + b"\n")
            replies.readline()
