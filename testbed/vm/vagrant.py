# SPDX-License-Identifier: Apache-2.0
"""The virtual machine through Vagrant, with libvirt or VirtualBox."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.lab.watch import Outcome, Report, watch
from testbed.process import run
from testbed.render import render
from testbed.rundir import write_atomically
from testbed.vm import daemons
from testbed.vm.box import Box
from testbed.vm.machine import Connection, Machine, State, try_login
from testbed.vm.places import EMULATED_ICOUNT_SHIFT, Vm, state_dir, vagrant_home
from testbed.vm.vagrant_output import connection_of, explain, stage_of, state_of

VAGRANT = "vagrant"
BOOT_TIMEOUT_S = 900
# Emulated, a boot takes one to two minutes; installing packages in a box from elsewhere, more.
UP_TIMEOUT_S = 3600.0
QUERY_TIMEOUT_S = 120.0
# In the block for documentation of benchmarks (RFC 2544), which nobody routes.
NETWORK = "198.19.173.0/24"


def vagrantfile(vm: Vm, box: Box | None) -> str:
    """Return the Vagrantfile of a machine.

    Args:
        vm: as it was asked for.
        box: our own box, or None for one from elsewhere.
    """
    return render(
        "Vagrantfile.j2",
        vm=vm,
        box_name=vm.box if box is None else f"mptcp-testbed-{box.id}",
        box_folder="" if box is None else str(box.folder),
        boot_timeout_s=BOOT_TIMEOUT_S,
        icount_shift=EMULATED_ICOUNT_SHIFT,
        network=NETWORK,
    )


def write_vagrantfile(vm: Vm, box: Box | None) -> None:
    """Put the Vagrantfile where the one in vagrant/ looks for it."""
    state_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(state_dir() / "Vagrantfile", vagrantfile(vm, box))


class VagrantMachine(Machine):
    """A machine that `vagrant` in the checkout's folder knows too.

    Args:
        vm: as it was asked for.
        box: our own box, or None for one from elsewhere.
    """

    def __init__(self, vm: Vm, box: Box | None) -> None:
        super().__init__(vm)
        self._box = box

    def check(self) -> None:
        """Look for Vagrant and its provider."""
        if not shutil.which(VAGRANT):
            raise PrerequisiteError(
                "this machine has no vagrant; run './setup vm', or use --provider qemu"
            )
        if self.vm.provider == "virtualbox":
            self._check_virtualbox()
        elif not shutil.which("virsh"):
            raise PrerequisiteError(
                "this machine has no libvirt; run './setup vm', or use --provider qemu"
            )

    def start(self, report: Report) -> None:
        """Boot, and see that one can log in to the machine with the key of the box."""
        if self.vm.provider == "libvirt":
            daemons.start_daemons(report)
            self._refuse_foreign()
        vagrant_home().mkdir(parents=True, exist_ok=True)
        self._watch(
            ["up", "--provider", self.vm.provider, "--no-parallel"], report, "start vagrant"
        )
        report("wait until one can log in", None)
        if problem := try_login(self.connection()):
            raise BackendError(f"nobody can log in to the virtual machine: {problem}")

    def state(self) -> State:
        """Ask Vagrant."""
        if not shutil.which(VAGRANT):
            return State.ABSENT
        if self.vm.provider == "libvirt" and not daemons.answers():
            return State.OFF if self._id_path().exists() else State.ABSENT
        return state_of(self._query("status", "--machine-readable"))

    def halt(self, report: Report) -> None:
        """Shut down, and stop the daemons that we started."""
        self._with_daemons(["halt"], report, "shut down")

    def destroy(self, report: Report) -> None:
        """Remove machine and network, and stop the daemons that we started."""
        self._with_daemons(["destroy", "--force"], report, "remove the machine")

    def connection(self) -> Connection:
        """Ask Vagrant for the address; the key is the box's."""
        text = self._query("ssh-config")
        if self._box is not None:
            return connection_of(text, self._box.folder / "user", self._box.host_key)
        return connection_of(text, None, self._host_key())

    def _host_key(self) -> str:
        """Ask a machine whose box is from elsewhere for its key, through Vagrant."""
        command = "cat /etc/ssh/ssh_host_ed25519_key.pub"
        return " ".join(self._query("ssh", "--command", command).split()[:2])

    def _check_virtualbox(self) -> None:
        if not shutil.which("VBoxManage"):
            raise PrerequisiteError(
                "this machine has no VirtualBox; install it, or use --provider libvirt or qemu"
            )
        if self._box is not None and not (self._box.folder / "virtualbox.box").exists():
            raise PrerequisiteError(
                "the box was not built for VirtualBox; build it with "
                "'testbed vm build-box --virtualbox --force'"
            )

    def _refuse_foreign(self) -> None:
        """Refuse a name that libvirt knows although Vagrant did not make a machine of it."""
        if self._id_path().exists():
            return
        names = run(["virsh", "-c", daemons.SYSTEM, "list", "--all", "--name"], timeout_s=60)
        if self.vm.name in names.split():
            raise explain(f"domain '{self.vm.name}' already exists", self.vm.name, self.vm.provider)

    def _id_path(self) -> Path:
        place = Path(self.vm.folder) / ".vagrant" / "machines"
        return place / self.vm.name / self.vm.provider / "id"

    def _with_daemons(self, arguments: list[str], report: Report, stage: str) -> None:
        if self.vm.provider == "libvirt":
            daemons.start_daemons(report)
        try:
            self._watch(arguments, report, stage)
            if self.vm.provider == "libvirt":
                self._remove_leftovers(has_disk=arguments[0] != "destroy")
        finally:
            daemons.stop_daemons()

    def _remove_leftovers(self, *, has_disk: bool) -> None:
        """Remove what Vagrant leaves: the network and the copy of the box, which carry our name."""
        virsh = ["virsh", "-c", daemons.SYSTEM]
        commands = [["net-destroy", self.vm.name]]
        if not has_disk:
            commands.append(["net-undefine", self.vm.name])
            commands += [["vol-delete", "--pool", "default", name] for name in self._volumes(virsh)]
        for command in commands:
            try:
                run([*virsh, *command], timeout_s=60)
            except CommandError:
                continue  # there was none

    def _volumes(self, virsh: list[str]) -> list[str]:
        if self._box is None:
            return []
        try:
            listed = run([*virsh, "vol-list", "default"], timeout_s=60)
        except CommandError:
            return []
        names = [line.split()[0] for line in listed.splitlines() if line.split()]
        return [name for name in names if name.startswith(f"mptcp-testbed-{self._box.id}_vagrant")]

    def _watch(self, arguments: list[str], report: Report, first_stage: str) -> None:
        """Run a command that takes minutes; its output tells the stages."""
        log = state_dir() / "vagrant.log"
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        outcome = watch(
            [VAGRANT, *arguments, "--machine-readable"],
            log_path=log,
            env=self._environment(),
            tick=_teller(log, report, first_stage),
        )
        if outcome.returncode:
            raise self._failure(outcome)

    def _failure(self, outcome: Outcome) -> Exception:
        return explain(outcome.output, self.vm.name, self.vm.provider)

    def _query(self, *arguments: str) -> str:
        try:
            return run([VAGRANT, *arguments], timeout_s=QUERY_TIMEOUT_S, env=self._environment())
        except CommandError as error:
            raise explain(str(error), self.vm.name, self.vm.provider) from error

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "VAGRANT_HOME": str(vagrant_home()),
            "VAGRANT_CWD": self.vm.folder,
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_NO_COLOR": "1",
        }


def _teller(log: Path, report: Report, first_stage: str) -> Callable[[], None]:
    deadline_s = time.monotonic() + UP_TIMEOUT_S

    def tick() -> None:
        report(stage_of(log.read_text(errors="replace")) or first_stage, None)
        if time.monotonic() > deadline_s:
            raise BackendError(f"vagrant took longer than {UP_TIMEOUT_S:.0f} s; see {log}")

    return tick
