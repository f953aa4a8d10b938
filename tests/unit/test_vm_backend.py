# SPDX-License-Identifier: Apache-2.0
"""The virtual machine as a backend, with a machine that only writes down what is run in it."""

from pathlib import Path

import pytest

from testbed.backends import make_backend, vagrant
from testbed.errors import BackendError, CommandError, SpecError
from testbed.vm.machine import Connection

CONNECTION = Connection("198.19.173.5", 22, "vagrant", Path("/key"), "ssh-ed25519 AAAA")


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run in the machine; those that begin with a word in `bad` fail.

    Its kernel has what Debian's has, and the controls in `own` besides.
    """
    done = []

    def run_there(connection, words):
        if words[0] == "cat":
            return " ".join(["reno cubic", *sorted(own)]) + "\n"
        done.append(" ".join(words[2:4]))
        if done[-1] in bad:
            raise CommandError('ssh exited 1 after 0.1 s: "Invalid argument"')
        return ""

    bad, own = set(), set()
    monkeypatch.setattr(vagrant, "run_there", run_there)
    return done, bad, own


def test_only_the_key_of_the_box_is_accepted():
    target = vagrant.ssh_target(CONNECTION)

    assert target.host_keys == ("ssh-ed25519 AAAA",)
    assert target.key_files == (Path("/key"),)
    assert target.known_hosts == ()


def test_lia_is_in_the_kernel_for_as_long_as_the_run_lasts(commands):
    done, _, _ = commands
    with pytest.raises(ZeroDivisionError), vagrant.loaded(CONNECTION, "lia"):
        done.append("run")
        raise ZeroDivisionError

    assert done == [
        "struct_ops unregister",
        "struct_ops register",
        "run",
        "struct_ops unregister",
    ]


def test_control_that_the_kernel_has_is_left_alone(commands):
    with vagrant.loaded(CONNECTION, "cubic"):
        pass
    assert commands[0] == []


def test_lia_of_our_own_kernel_needs_no_program(commands):
    """Only what an earlier run may have left under the name is looked for first."""
    done, bad, own = commands
    own.add("lia")
    bad.add("struct_ops register")  # such a kernel has no BTF

    with vagrant.loaded(CONNECTION, "lia"):
        pass
    assert done == ["struct_ops unregister"]


def test_program_that_an_earlier_run_did_not_leave_is_no_failure(commands):
    commands[1].add("struct_ops unregister")

    with vagrant.loaded(CONNECTION, "lia"):
        pass


def test_kernel_that_takes_no_bpf_program_is_told_with_what_to_do(commands):
    commands[1].add("struct_ops register")

    with (
        pytest.raises(BackendError, match=r"BPF program of lia: .*; choose cubic or reno"),
        vagrant.loaded(CONNECTION, "lia"),
    ):
        pass


def test_backend_takes_no_address():
    with pytest.raises(SpecError, match="there is no backend"):
        make_backend("vagrant:somewhere")
    assert make_backend("vagrant").most_at_once == 1
