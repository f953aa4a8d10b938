# SPDX-License-Identifier: Apache-2.0
"""Vagrant as the testbed reads it; tests/data/vagrant/ is what Vagrant 2.3.4 really said."""

from pathlib import Path

import pytest

from testbed.errors import BackendError, PrerequisiteError
from testbed.vm.box import Box
from testbed.vm.machine import Connection, State, known_hosts_line, ssh_argv
from testbed.vm.places import Vm
from testbed.vm.vagrant import vagrantfile
from testbed.vm.vagrant_output import connection_of, explain, parse, stage_of, state_of

DATA = Path(__file__).parents[1] / "data" / "vagrant"
KEY = "ssh-ed25519 AAAA"


def said(name: str) -> str:
    return (DATA / f"2.3.4-{name}.txt").read_text()


def make_vm(**changes):
    values = {
        "name": "mptcp-testbed",
        "provider": "libvirt",
        "box": "7.3-abc",
        "is_own_box": True,
        "is_accelerated": False,
        "memory_mib": 2048,
        "processors": 1,
    }
    return Vm(**(values | changes))


def make_box():
    return Box(Path("/cache/boxes/7.3-abc"), "7.3-abc", "7.3", "2026", 1)


def test_stages_of_a_boot_are_told_in_their_order():
    text = said("up")
    lines = text.splitlines(keepends=True)
    stages = [stage_of("".join(lines[:count])) for count in range(len(lines) + 1)]

    assert list(dict.fromkeys(stages)) == [
        None,
        "give the box to libvirt",
        "make the machine's disk",
        "make the machine",
        "boot",
        "wait until one can log in",
    ]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("status-running", State.RUNNING),
        ("status-shutoff", State.OFF),
        ("status-not_created", State.ABSENT),
    ],
)
def test_state_is_read(name, state):
    assert state_of(said(name)) == state


def test_connection_has_the_key_of_the_box_and_not_one_that_the_machine_names():
    found = connection_of(said("ssh-config"), Path("/k"), KEY)

    assert (found.user, found.port, found.key, found.host_key) == ("vagrant", 22, Path("/k"), KEY)
    assert found.host.startswith("198.19.173.")


def test_machine_that_cannot_be_reached_is_told():
    with pytest.raises(BackendError, match="start it with 'testbed vm up'"):
        connection_of("", None, KEY)


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("name-taken", BackendError, r"\"mptcp-testbed\" belongs to a virtual machine .* --name"),
        ("no-provider", PrerequisiteError, r"no provider libvirt here; run './setup vm'"),
        ("no-libvirt", PrerequisiteError, r"start it with 'sudo systemctl start libvirtd'"),
    ],
)
def test_failure_is_one_sentence_with_a_next_step(name, kind, sentence):
    error = explain(said(name), "mptcp-testbed", "libvirt")

    assert isinstance(error, kind)
    with pytest.raises(kind, match=sentence):
        raise error
    assert "\n" not in str(error)


def test_unknown_failure_is_quoted_in_one_line():
    error = explain("1,,error-exit,Strange,It broke.\\nBadly%!(VAGRANT_COMMA) yes.\n", "a", "qemu")

    assert str(error) == "vagrant failed: \"It broke. Badly, yes\"; see 'testbed vm status'"


def test_commas_in_a_message_are_restored():
    assert parse("1,vm,ui,info,a%!(VAGRANT_COMMA) b\nno line\n")[0].data == ("info", "a, b")


def test_emulated_processor_counts_instructions():
    text = vagrantfile(make_vm(), make_box())

    assert 'libvirt.driver = "qemu"' in text
    assert 'qemuargs value: "shift=0,sleep=on"' in text
    assert 'box_url = "file:///cache/boxes/7.3-abc/libvirt.box"' in text
    assert "insert_key = false" in text


def test_accelerated_processor_is_this_machines():
    text = vagrantfile(make_vm(is_accelerated=True, processors=4), make_box())

    assert 'libvirt.driver = "kvm"' in text
    assert "host-passthrough" in text
    assert "icount" not in text


def test_box_from_elsewhere_gets_its_packages():
    text = vagrantfile(make_vm(is_own_box=False, box="debian/trixie64"), None)

    assert 'config.vm.box = "debian/trixie64"' in text
    assert "provision.sh" in text
    assert "insert_key = true" in text


def test_login_refuses_every_other_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    connection = Connection("198.19.173.5", 22, "vagrant", Path("/k"), KEY)
    argv = ssh_argv(connection)

    assert "StrictHostKeyChecking=yes" in argv
    known = tmp_path / "mptcp-testbed" / "known_hosts"
    assert f"UserKnownHostsFile={known}" in argv
    assert known.read_text() == known_hosts_line(connection) == f"mptcp-testbed-vm {KEY}\n"
