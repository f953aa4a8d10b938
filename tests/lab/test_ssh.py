# SPDX-License-Identifier: Apache-2.0
"""A run on a machine behind SSH: a real sshd, in the lab kernel, in real time, without a network.

The machine has no lab_link for these runs, so the links are netem and tbf.
"""

import threading
from dataclasses import replace

import pytest

from testbed.backends.base import Cancelled
from testbed.backends.remote import bootstrap
from testbed.backends.remote.connection import Connection
from testbed.backends.remote.patience import Patience
from testbed.backends.remote.session import Session
from testbed.backends.ssh import SshBackend
from testbed.errors import BackendError, PrerequisiteError
from testbed.plan import plan_experiment
from testbed.rundir import read_json, write_json
from testbed.spec.load import load_experiment
from tests.lab.ssh_machine import PASSWORD, ROOT, SshMachine, find_sshd, new_key

PATIENCE = Patience(connect_s=10, answer_s=10, silence_s=20, first_pause_s=0.05, beyond_s=60)
CUTS = 20
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJj0Z1sYXxVXOcSPOnpYqjmbSGqEXfHWRJ5mD6qhkRzY"
KEPT = threading.Event()  # never set


@pytest.fixture(scope="module")
def machine(kernel, tmp_path_factory):
    if find_sshd() is None:
        pytest.skip("no sshd; './setup packages' unpacks one")
    with SshMachine(tmp_path_factory.mktemp("ssh"), "SetEnv TESTBED_LINKS=netem") as made:
        yield made


@pytest.fixture
def on_machine(machine):
    """Run a command on the machine, over a connection of its own."""

    def run(*argv):
        with Connection(machine.target(), PATIENCE) as connection:
            return connection.run(argv)[1].decode()

    return run


@pytest.fixture
def clean(on_machine):
    """See to it that nothing is left on the machine."""
    yield
    assert on_machine("ls", "/var/tmp") == ""
    processes = on_machine("ps", "-e", "-o", "args").splitlines()
    assert [line for line in processes if "/code" in line or "/tmp/testbed" in line] == []


@pytest.fixture
def run_dir(tmp_path):
    """A run of a few seconds: a download over WiFi and 3G."""
    changes = {"workload.size": "4 MB", "duration": "30 s", "matrix.mode": ["mptcp-full"]}
    experiment = load_experiment(ROOT / "experiments/offload.yaml", changes)
    folder = tmp_path / "run"
    (folder / "raw").mkdir(parents=True)
    write_json(folder / "run.json", plan_experiment(experiment, None, None)[0].plan)
    return folder


def carry_out(machine, run_dir, progress=lambda report: None, cancelled=KEPT, **changes):
    backend = SshBackend(machine.target(**changes), patience=PATIENCE)
    return backend.run(run_dir, 1, progress, cancelled)


def test_a_run_is_complete_though_the_connection_is_cut_twenty_times(
    machine, run_dir, clean, monkeypatch
):
    """Each time soon after the machine has said something, in the run and in the transfer."""
    stages, cut = [], 0
    said, is_over = threading.Event(), threading.Event()
    monkeypatch.setattr(Session, "_hear", lambda self, hear=Session._hear: (hear(self), said.set()))

    def cut_often():
        nonlocal cut
        while cut < CUTS and not is_over.is_set():
            if said.wait(0.1):
                said.clear()
                cut += bool(machine.cut())

    killer = threading.Thread(target=cut_often)

    def listen(report):
        stages.append(report["stage"])
        if report["stage"] == "prepare":
            killer.start()

    status = carry_out(machine, run_dir, listen)
    is_over.set()
    killer.join()

    assert (status, cut) == (0, CUTS)
    assert list(dict.fromkeys(stages)) == ["prepare", "start", "measure", "stop"]
    assert not list(run_dir.rglob("*.part"))
    target = read_json(run_dir / "target.json")
    assert target["measured"]["workload"]["size_bytes"] == 4_000_000
    assert (target["clock"], target["links"]) == ("real", "netem, tbf")
    assert (run_dir / "raw/laptop.wifi.pcap").stat().st_size > 100_000


def test_a_cancelled_run_leaves_nothing_behind(machine, run_dir, clean):
    cancelled = threading.Event()

    with pytest.raises(Cancelled):
        carry_out(machine, run_dir, lambda report: cancelled.set(), cancelled)


def test_a_run_that_takes_too_long_is_ended(machine, run_dir, clean):
    hasty = replace(PATIENCE, beyond_s=-27)  # of 30 s
    with pytest.raises(BackendError, match="the run took longer than 3 s and was ended"):
        SshBackend(machine.target(), patience=hasty).run(run_dir, 1, lambda report: None, KEPT)


def test_a_full_disk_on_the_machine_is_said(machine, run_dir, on_machine, clean):
    on_machine("mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", "/var/tmp")
    try:
        with pytest.raises(BackendError, match="the disk of /var/tmp on the target is full"):
            carry_out(machine, run_dir)
        on_machine("mount", "-o", "remount,size=64k", "/var/tmp")
        with pytest.raises(BackendError, match="no space left on device"):
            carry_out(machine, run_dir)
    finally:
        assert on_machine("ls", "/var/tmp") == ""
        on_machine("umount", "/var/tmp")


def test_a_machine_that_stops_to_answer_fails_the_run_with_the_first_cause(machine, run_dir):
    hasty = Patience(connect_s=10, answer_s=10, silence_s=1, first_pause_s=0.1, clearing_s=1)
    backend = SshBackend(machine.target(), patience=hasty)

    def stop(report):
        machine.is_refusing = True
        machine.cut()

    try:
        with pytest.raises(BackendError, match=r"has not answered for \d+ s: .* is left there"):
            backend.run(run_dir, 1, stop, KEPT)
    finally:
        machine.is_refusing = False
    with Connection(machine.target(), PATIENCE) as connection:
        left = connection.run(["ls", "/var/tmp"])[1].decode().strip()
        code = f"/var/tmp/{left}/code"
        connection.run(["python3", "-I", code, "stop", f"/var/tmp/{left}"])
        connection.run(["python3", "-I", code, "remove", f"/var/tmp/{left}"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host_keys": ()}, "the host key of machine is not known: it is ssh-ed25519 SHA256:"),
        ({"host_keys": (OTHER_KEY,)}, "the host key of machine has changed: .* known is ssh-"),
        ({"key_files": (), "password": "wrong"}, "does not let root in with this password; try"),
        ({"key_files": ("other",)}, "does not let root in with the key .*other; try 'ssh -p 22"),
        ({"key_files": ("absent",)}, "the key .*absent for machine does not exist"),
        ({"user": "plain"}, "plain on machine may not use sudo without a password"),
    ],
)
def test_who_is_not_let_in_is_told_why(machine, changes, said):
    new_key(machine.folder / "other")
    if "key_files" in changes:
        changes = {**changes, "key_files": [machine.folder / name for name in changes["key_files"]]}

    with pytest.raises(PrerequisiteError, match=said):
        SshBackend(machine.target(**changes), patience=PATIENCE).up()


def test_a_password_is_asked_for_when_no_key_opens_the_door(machine):
    new_key(machine.folder / "other")
    asked = []

    def answer(question):
        asked.append(question)
        return PASSWORD

    target = machine.target(key_files=(machine.folder / "other",))
    SshBackend(target, patience=PATIENCE, ask_password=answer).up()

    assert asked == ["password of root on machine"]


def test_a_machine_without_netem_is_refused_with_what_is_missing(machine, monkeypatch):
    """The lab kernel has netem; so the name that is asked for is one that no kernel has."""
    monkeypatch.setattr(bootstrap, "archive", lambda run_json: without_netem(run_json))

    with pytest.raises(PrerequisiteError, match=r"link shaping: .*modprobe -a sch_netem sch_tbf"):
        SshBackend(machine.target(), patience=PATIENCE).up()


def without_netem(run_json, archive=bootstrap.archive):
    return archive(run_json).replace(b'TCA_KIND, "netem"', b'TCA_KIND, "notem"')
