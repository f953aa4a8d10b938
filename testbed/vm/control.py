# SPDX-License-Identifier: Apache-2.0
"""From what the user asked for to a machine: provider, acceleration, box; up and away again."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from testbed.errors import PrerequisiteError, SpecError
from testbed.lab.watch import Report
from testbed.process import run
from testbed.vm.acceleration import QEMU, probe_kvm
from testbed.vm.box import Box, check_box, find_box, list_boxes
from testbed.vm.machine import Machine, State
from testbed.vm.places import (
    DEFAULT_MEMORY_MIB,
    DEFAULT_NAME,
    VAGRANT_FOLDER,
    Vm,
    forget_vm,
    recorded_vm,
)
from testbed.vm.qemu import QemuMachine, free_port
from testbed.vm.vagrant import VagrantMachine, write_vagrantfile

PROVIDERS = ("libvirt", "virtualbox", "qemu")
ACCELERATIONS = ("kvm", "none")
AUTO = "auto"
MAX_PROCESSORS = 4


@dataclass(frozen=True)
class Wish:
    """What `vm up` was asked for; None or "auto": choose.

    Attributes:
        name: of the machine.
        provider: libvirt, virtualbox, qemu or auto.
        acceleration: kvm, none or auto.
        memory_mib: its memory.
        processors: its virtual processors.
        box: name of a box from elsewhere.
        kernel: of our own box, one of `archive.KERNELS`; None: of the one that was built last.
    """

    name: str = DEFAULT_NAME
    provider: str = AUTO
    acceleration: str = AUTO
    memory_mib: int = DEFAULT_MEMORY_MIB
    processors: int | None = None
    box: str | None = None
    kernel: str | None = None


def up(wish: Wish, report: Report) -> Machine:
    """Bring the machine up; one that runs already is left as it is.

    Raises:
        PrerequisiteError: provider, box or memory is missing.
        SpecError: the wish contradicts the machine that exists.
        BackendError: it does not start, or its name belongs to something else.
    """
    known = recorded_vm()
    if known is None:
        machine = machine_of(resolve(wish, report))
    else:
        _refuse_contradiction(wish, known)
        machine = machine_of(known)
        if machine.state() == State.RUNNING:
            return machine
    machine.check()
    machine = _describe(machine.vm)
    was_absent = machine.state() == State.ABSENT
    machine.vm.record()
    try:
        machine.start(report)
    except BaseException:
        if was_absent:
            _undo(machine, report)
        raise
    return machine


def wish_of(vm: Vm) -> Wish:
    """Return the wish for the machine that exists, whatever it is like."""
    return Wish(name=vm.name, provider=vm.provider, memory_mib=vm.memory_mib)


def existing() -> Machine:
    """Return the machine that exists.

    Raises:
        PrerequisiteError: there is none.
    """
    if (vm := recorded_vm()) is None:
        raise PrerequisiteError(
            "there is no virtual machine of the testbed; make one with 'testbed vm up'"
        )
    return machine_of(vm)


def destroy(machine: Machine, report: Report) -> None:
    """Remove the machine and forget it."""
    machine.destroy(report)
    forget_vm()


def describe_default(kernel: str | None = None) -> None:
    """Write the Vagrantfile for plain `vagrant up`, unless a machine exists, which has its own."""
    if recorded_vm() is None:
        wish = Wish(provider=_vagrant_provider(), kernel=kernel)
        vm = resolve(wish, lambda stage, fraction: None)
        write_vagrantfile(vm, find_box(kernel))


def machine_of(vm: Vm) -> Machine:
    """Return the machine that a record is of."""
    box = _own_box(vm) if vm.is_own_box else None
    if vm.provider == "qemu":
        assert box is not None, "resolve() refuses it"
        return QemuMachine(vm, box)
    return VagrantMachine(vm, box)


def resolve(wish: Wish, report: Report) -> Vm:
    """Decide what was left open.

    Raises:
        PrerequisiteError: nothing on this machine can run a virtual machine.
        SpecError: the wishes contradict each other.
    """
    provider = _choose_provider() if wish.provider == AUTO else wish.provider
    if wish.box and provider == "qemu":
        raise SpecError(
            "a box from elsewhere needs Vagrant; use --provider libvirt or virtualbox, "
            "or leave --box away"
        )
    if wish.box and wish.kernel:
        raise SpecError("a box from elsewhere has a kernel; use --box or --kernel")
    box = None if wish.box else find_box(wish.kernel)
    is_accelerated = _is_accelerated(wish, provider, box, report)
    processors = wish.processors or (
        min(MAX_PROCESSORS, len(os.sched_getaffinity(0))) if is_accelerated else 1
    )
    return Vm(
        name=wish.name,
        provider=provider,
        box=box.id if box else str(wish.box),
        is_own_box=box is not None,
        is_accelerated=is_accelerated,
        memory_mib=wish.memory_mib,
        processors=processors,
        ssh_port=free_port() if provider == "qemu" else 0,
    )


def _choose_provider() -> str:
    """Return the first provider that is installed."""
    if shutil.which("vagrant"):
        if shutil.which("virsh") and _has_plugin():
            return "libvirt"
        if shutil.which("VBoxManage"):
            return "virtualbox"
    if shutil.which(QEMU):
        return "qemu"
    raise PrerequisiteError(
        "this machine has neither Vagrant with libvirt or VirtualBox nor QEMU; run './setup vm'"
    )


def _has_plugin() -> bool:
    """Say whether Vagrant has its provider for libvirt; Debian packages it beside Vagrant."""
    places = [Path("/usr/share/rubygems-integration"), Path("/usr/lib/ruby/gems")]
    places.append(Path.home() / ".vagrant.d" / "gems")
    return any(True for place in places for _ in place.glob("**/gems/vagrant-libvirt-*"))


def _vagrant_provider() -> str:
    return "virtualbox" if shutil.which("VBoxManage") and not shutil.which("virsh") else "libvirt"


def _is_accelerated(wish: Wish, provider: str, box: Box | None, report: Report) -> bool:
    if wish.acceleration == "none" or provider == "virtualbox":
        # VirtualBox has an accelerator of its own, which this does not decide about.
        return provider == "virtualbox"
    if wish.acceleration == "kvm" or box is None:
        return wish.acceleration == "kvm" or os.access("/dev/kvm", os.R_OK | os.W_OK)
    report("try KVM", None)
    problem = probe_kvm(box.folder / "vmlinuz")
    if problem:
        report(f"no KVM ({problem}): the processor is emulated", None)
    return not problem


def _own_box(vm: Vm) -> Box:
    for box in list_boxes():
        if box.id == vm.box:
            return check_box(box)
    raise PrerequisiteError(
        f"the box {vm.box}, which the virtual machine was made of, is gone; remove the machine "
        "with 'testbed vm destroy --force'"
    )


def _describe(vm: Vm) -> Machine:
    """Write what Vagrant needs, for a machine of Vagrant's."""
    machine = machine_of(vm)
    if vm.provider != "qemu":
        vm = replace(vm, folder=str(VAGRANT_FOLDER)) if not Path(vm.folder).is_dir() else vm
        write_vagrantfile(vm, _own_box(vm) if vm.is_own_box else None)
    return machine


def _refuse_contradiction(wish: Wish, known: Vm) -> None:
    """Refuse another provider, name or size than those of the machine that exists."""
    asked = {
        "--name": (wish.name != DEFAULT_NAME and wish.name, known.name),
        "--provider": (wish.provider != AUTO and wish.provider, known.provider),
        "--box": (wish.box, known.box),
        "--kernel": (wish.kernel, _kernel_of(known)),
        "--memory": (wish.memory_mib != DEFAULT_MEMORY_MIB and wish.memory_mib, known.memory_mib),
        "--processors": (wish.processors, known.processors),
    }
    for option, (wanted, has) in asked.items():
        if wanted and wanted != has:
            raise SpecError(
                f'{option}: the virtual machine "{known.name}" exists already, with {has}; '
                "remove it first with 'testbed vm destroy'"
            )


def _kernel_of(vm: Vm) -> str:
    """Return which kernel a machine's box has, and the box's own name for one from elsewhere."""
    return _own_box(vm).kernel_from if vm.is_own_box else f"that of {vm.box}"


def _undo(machine: Machine, report: Report) -> None:
    """Leave nothing of a machine that did not come up; the first error is the one to be told."""
    try:
        destroy(machine, report)
    except Exception:
        return


def forget_broken() -> None:
    """Forget a machine that cannot be removed in order, such as one whose box is gone."""
    if (vm := recorded_vm()) is None:
        return
    if vm.provider == "libvirt" and shutil.which("virsh"):
        for command in (["destroy", vm.name], ["undefine", vm.name]):
            try:
                run(["virsh", "-c", "qemu:///system", *command], timeout_s=60)
            except Exception:
                continue
    forget_vm()
