# SPDX-License-Identifier: Apache-2.0
"""`testbed vm` where something is missing or wrong, with programs of our own in PATH."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from testbed.cli.main import testbed as root_command
from testbed.errors import BackendError, PrerequisiteError, SpecError
from testbed.vm import acceleration, box, control, daemons
from testbed.vm.machine import Machine, State
from testbed.vm.places import recorded_vm, state_dir
from testbed.vm.qemu import QemuMachine, free_port, qemu_argv
from tests.unit.test_vm_vagrant import make_box, make_vm


def quiet(stage, fraction):
    pass


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A machine with a box, the basic programs, and whatever a test puts into its PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "sleep", "true"):
        (programs / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TESTBED_VM_ACCELERATION", raising=False)
    folder = box.boxes_dir() / f"7.3-{box.recipe_hash()[:12]}"
    folder.mkdir(parents=True)
    for name in ("box.img", "vmlinuz", "user"):
        (folder / name).write_text(name)
    (folder / "host.pub").write_text("ssh-ed25519 AAAA mptcp-testbed\n")
    record = {"id": folder.name, "kernel": "7.3", "built": "2026-01-01T00:00:00+00:00"}
    (folder / "info.json").write_text(json.dumps({**record, "files": {"box.img": 7}}))
    return programs


def install(programs, name, script="exit 0"):
    path = programs / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def invoke(*arguments):
    return CliRunner().invoke(root_command, ["vm", *arguments])


def failure(*arguments):
    """Return the error that a command ends with."""
    error = invoke(*arguments).exception
    assert "\n" not in str(error)
    return error


def test_machine_with_nothing_is_told_what_to_install(world):
    error = failure("up")

    assert isinstance(error, PrerequisiteError)
    assert str(error).endswith("run './setup vm'")


def test_vagrant_that_is_missing_is_named(world):
    assert "this machine has no vagrant; run './setup vm'" in str(
        failure("up", "--provider", "libvirt", "--acceleration", "none")
    )


def test_libvirt_that_is_missing_is_named(world):
    install(world, "vagrant")

    error = failure("up", "--provider", "libvirt", "--acceleration", "none")
    assert "no libvirt; run './setup vm', or use --provider qemu" in str(error)


def test_virtualbox_that_is_missing_is_named(world):
    install(world, "vagrant")

    assert "no VirtualBox; install it" in str(failure("up", "--provider", "virtualbox"))


def test_without_a_box_the_command_that_builds_one_is_named(world):
    shutil.rmtree(box.boxes_dir())
    install(world, acceleration.QEMU)

    assert "run 'testbed vm build-box'" in str(failure("up"))


def test_building_needs_root_and_tools(world, monkeypatch):
    shutil.rmtree(box.boxes_dir())
    assert "building a box needs mmdebstrap" in str(failure("build-box"))

    monkeypatch.setattr(box, "_which", lambda program: program)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "takes root; run it with sudo" in str(failure("build-box"))


def test_building_needs_room(world, monkeypatch):
    shutil.rmtree(box.boxes_dir())
    monkeypatch.setattr(box, "_which", lambda program: program)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(box, "BUILD_BYTES", 10**18)

    assert "set XDG_CACHE_HOME to a folder on another disk" in str(failure("build-box"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--name", "a b"], "give another with --name"),
        (["--memory", "100M"], "at least 512 MiB with --memory"),
        (["--processors", "2"], "leave --processors away"),
        (["--box", "debian/trixie64"], "a box from elsewhere needs Vagrant"),
        (["--kernel", "ours"], "run 'testbed vm build-box --kernel ours'"),
    ],
)
def test_wish_that_cannot_be_met_is_refused(world, options, sentence):
    install(world, acceleration.QEMU)

    error = failure("up", "--provider", "qemu", "--acceleration", "none", *options)
    assert isinstance(error, SpecError | PrerequisiteError)
    assert sentence in str(error)


def test_box_from_elsewhere_has_its_kernel(world):
    error = failure("up", "--provider", "libvirt", "--box", "a/b", "--kernel", "stable")
    assert "use --box or --kernel" in str(error)


def test_machine_that_exists_is_not_made_anew_with_other_values(world):
    make_vm(provider="qemu", box=next(box.boxes_dir().glob("[!.]*")).name).record()

    error = failure("up", "--memory", "4G")
    assert 'the virtual machine "mptcp-testbed" exists already, with 2048' in str(error)
    assert "exists already, with backports" in str(failure("up", "--kernel", "ours"))


def test_machine_whose_box_is_gone_can_only_be_forgotten(world):
    make_vm(provider="qemu").record()

    assert "remove the machine with 'testbed vm destroy --force'" in str(failure("destroy"))
    assert invoke("destroy", "--force").output == "the virtual machine is forgotten\n"
    assert recorded_vm() is None


@pytest.mark.parametrize("command", ["status", "halt", "destroy"])
def test_no_machine_is_no_error(world, command):
    assert json.loads(invoke(command, "--json").output) == {"state": "absent"}


def test_login_needs_a_machine(world):
    assert "make one with 'testbed vm up'" in str(failure("ssh"))


def test_machine_that_does_not_start_leaves_nothing(world):
    """The first error is told, and neither a record nor a disk stays."""
    install(world, "qemu-img", 'for last in "$@"; do :; done; echo >"$last"')
    install(world, acceleration.QEMU, "echo 'Could not set up host forwarding' >&2; exit 1")

    error = failure("up", "--provider", "qemu", "--acceleration", "none")
    assert isinstance(error, BackendError)
    assert 'exited 1 after 0.0 s: "Could not set up host forwarding"' in str(error)
    assert recorded_vm() is None
    assert list((state_dir() / "qemu").iterdir()) == []


class Stubborn(Machine):
    """A machine whose boot is interrupted by the user."""

    destroyed = False

    def check(self): ...
    def halt(self, report): ...
    def connection(self): ...
    def state(self):
        return State.ABSENT

    def start(self, report):
        assert recorded_vm() == self.vm, "otherwise nobody could remove what a kill leaves"
        raise KeyboardInterrupt

    def destroy(self, report):
        Stubborn.destroyed = True


def test_interrupted_boot_is_undone(world, monkeypatch):
    monkeypatch.setattr(control, "machine_of", Stubborn)

    with pytest.raises(KeyboardInterrupt):
        control.up(control.Wish(provider="qemu", acceleration="none"), quiet)
    assert Stubborn.destroyed
    assert recorded_vm() is None


def test_pid_that_another_program_has_is_not_ours(world):
    machine = QemuMachine(make_vm(provider="qemu"), make_box())
    folder = state_dir() / "qemu" / "mptcp-testbed"
    folder.mkdir(parents=True)
    (folder / "pid").write_text(f"{os.getpid()}\n")

    assert machine.state() == State.ABSENT
    machine.destroy(quiet)  # and this process lives


def test_qemu_lets_in_from_this_machine_only(tmp_path):
    argv = qemu_argv(make_vm(provider="qemu", ssh_port=2222), tmp_path)

    network = argv[argv.index("-nic") + 1]
    assert network.endswith("restrict=on,hostfwd=tcp:127.0.0.1:2222-:22")
    assert argv[argv.index("-icount") + 1] == "shift=0,sleep=on"
    assert 1024 <= free_port() < 65536


def test_daemon_that_has_ended_does_not_run():
    running = "71 (libvirtd) S 1 71 71 0 -1"
    ended = "71 (libvirtd) Z 1 71 71 0 -1"

    assert daemons.is_running(running, "libvirtd")
    assert not daemons.is_running(ended, "libvirtd")
    assert not daemons.is_running("71 (some (odd) name) S 1", "libvirtd")


KERNEL_PANICS = (
    'for a; do case $a in file:*) echo "Kernel panic - not syncing" >"${a#file:}"; esac; done'
)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (KERNEL_PANICS, ""),
        ("exec sleep 60", "hung for 0.5 s"),
        ("exit 134", "does not boot"),
    ],
)
def test_kvm_is_believed_only_when_a_kernel_boots(world, tmp_path, monkeypatch, script, problem):
    """A device that exists proves nothing: nested, it may hang every guest."""
    monkeypatch.setattr(acceleration, "KVM", tmp_path / "kvm")
    (tmp_path / "kvm").touch()
    install(world, acceleration.QEMU, script)

    found = acceleration.probe_kvm(tmp_path / "vmlinuz", timeout_s=0.5)
    assert found == "" if not problem else problem in found
