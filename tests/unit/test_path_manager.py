# SPDX-License-Identifier: Apache-2.0
"""A scripted path manager does each step when it is due, to whom it is due."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from testbed.emulation import path_manager
from testbed.emulation.path_manager import ScriptedPathManager
from testbed.errors import BackendError
from testbed.netlink.mptcp_commands import End
from testbed.netlink.mptcp_events import Event
from testbed.timetable import Timetable

PATHS = [
    {"name": "a", "interface": "vm-a", "addresses": ["10.0.1.2"]},
    {"name": "b", "interface": "vm-b", "addresses": ["10.0.2.2"]},
]
ADDRESSES = {"a": "10.0.1.2", "b": "10.0.2.2"}
REMOTE = End("10.0.9.1", 5001)
A, B = End("10.0.1.2", 1111), End("10.0.2.2", 2222)


class Kernel:
    """Keeps the commands; refuses those in `refused`."""

    def __init__(self):
        self.done = []
        self.refused = ()

    def __getattr__(self, name):
        def command(*arguments, **named):
            if name in self.refused:
                raise BackendError("the kernel refused")
            self.done.append((name, *arguments, *named.values()))

        return command


class Events:
    def __init__(self):
        self.blocks = []

    def receive(self):
        return self.blocks.pop(0) if self.blocks else None

    def close(self):
        pass


@pytest.fixture
def make(monkeypatch, tmp_path):
    kernel, events = Kernel(), Events()
    monkeypatch.setattr(path_manager, "ConnectionManager", lambda: kernel)
    monkeypatch.setattr(path_manager, "subscribe_events", lambda: events)
    monkeypatch.setattr(path_manager, "decode_events", lambda block: block)
    node = SimpleNamespace(
        namespace=SimpleNamespace(inside=contextlib.nullcontext),
        indexes={"vm-a": 12, "vm-b": 13},
    )

    def address_of(path):
        if path not in ADDRESSES:
            raise BackendError(f"no address on {path}")
        return ADDRESSES[path]

    def build(*steps):
        client = SimpleNamespace(node=node, address_of=address_of)
        log = tmp_path / "log.jsonl"
        manager = ScriptedPathManager(client, PATHS, [step(**one) for one in steps], log)
        made = SimpleNamespace(manager=manager, kernel=kernel, timetable=Timetable())
        manager.start(made.timetable, 1)

        def say(*said):
            events.blocks.append(list(said))
            manager.take()

        made.say = say
        built.append(manager)
        made.log = lambda: [json.loads(line) for line in log.read_text().splitlines()]
        return made

    built = []
    yield build
    for manager in built:
        manager.close()


def step(**said):
    empty = {"at_s": None, "when": None, "of": None, "after_s": 0.0, "to": None, "port": None}
    return {**empty, "is_backup": False, **said}


def begin(token=7, local=A):
    return Event("created", token, local, REMOTE), Event("established", token, local, REMOTE)


def test_a_connection_that_is_established(make):
    made = make({"when": "established", "do": "add_subflow", "path": "b"})
    made.say(*begin(7), *begin(8))

    assert [(name, token) for name, token, *_ in made.kernel.done] == [
        ("create_subflow", 7),
        ("create_subflow", 8),
    ]
    _, _, source, remote, is_backup = made.kernel.done[0]
    assert (source.address, source.identifier, source.interface_index) == ("10.0.2.2", 1, 13)
    assert (remote, is_backup) == (REMOTE, False)


def test_a_subflow_that_is_established_closes_another(make):
    made = make({"when": "established", "of": "b", "do": "close", "path": "a"})
    made.say(*begin())
    assert made.kernel.done == []
    made.say(Event("subflow_established", 7, B, REMOTE))
    assert made.kernel.done == [("destroy_subflow", 7, A, REMOTE)]


def test_the_first_subflow_counts_as_established_on_its_path(make):
    made = make({"when": "established", "of": "a", "do": "announce", "path": "b"})
    made.say(*begin())
    assert [name for name, *_ in made.kernel.done] == ["announce"]


def test_the_end_of_a_subflow_is_not_the_end_of_the_connection(make):
    made = make({"when": "closed", "do": "add_subflow", "path": "b"})
    made.say(*begin(), Event("subflow_closed", 7, A, REMOTE))
    assert made.kernel.done == []
    assert not made.manager.uses("a")


def test_a_delay_is_waited_for(make):
    made = make({"when": "closed", "of": "a", "after_s": 3.0, "do": "add_subflow", "path": "a"})
    made.say(*begin(), Event("subflow_closed", 7, A, REMOTE))
    assert made.kernel.done == []
    made.timetable.call_due(made.timetable.next_ns())
    assert [name for name, *_ in made.kernel.done] == ["create_subflow"]


def test_a_timed_step_is_for_all_connections(make):
    made = make({"at_s": 2.0, "do": "set_backup", "path": "a", "is_backup": True})
    made.say(*begin(7), *begin(8))
    assert made.timetable.next_ns() == 2_000_000_001
    made.timetable.call_due(2_000_000_001)
    assert made.kernel.done == [
        ("set_subflow_backup", 7, A, REMOTE, True),
        ("set_subflow_backup", 8, A, REMOTE, True),
    ]


def test_the_first_address_is_removed_by_its_id_zero(make):
    made = make(
        {"when": "announced", "do": "remove", "path": "a"},
        {"when": "removed", "do": "remove", "path": "b"},
    )
    made.say(*begin(), Event("announced", 7))
    assert made.kernel.done == [("remove", 7, 0)]
    made.say(Event("removed", 7))
    assert made.log()[-1]["error"] == "the connection knows no address on the path b"


def test_a_phase_of_the_workload(make):
    made = make({"when": "resumed", "do": "add_subflow", "path": "b", "to": "10.0.5.1", "port": 9})
    made.say(*begin())
    made.manager.phase("stopped")
    assert made.kernel.done == []
    made.manager.phase("resumed")
    assert made.kernel.done[0][3] == End("10.0.5.1", 9)


def test_what_is_refused_is_written_down_and_the_rest_goes_on(make):
    made = make(
        {"when": "established", "do": "announce", "path": "b"},
        {"when": "established", "do": "add_subflow", "path": "b"},
    )
    made.kernel.refused = ("announce",)
    made.say(*begin())
    assert [line.get("error") for line in made.log() if "do" in line] == [
        "the kernel refused",
        None,
    ]
    assert [name for name, *_ in made.kernel.done] == ["create_subflow"]


@pytest.mark.parametrize(
    ("do", "path", "said"),
    [
        ("close", "b", "the connection has no subflow on the path b"),
        ("add_subflow", "c", "no address on c"),
    ],
)
def test_what_cannot_be_done_is_said(make, do, path, said):
    made = make({"when": "established", "do": do, "path": path})
    made.manager._interfaces["c"] = "vm-c"
    made.say(*begin())
    assert made.log()[-1]["error"] == said


def test_a_step_without_a_connection_is_said(make):
    made = make({"at_s": 1.0, "do": "close", "path": "a"})
    made.timetable.call_due(1_000_000_001)
    assert made.log()[-1]["error"] == "the node has no MPTCP connection"


def test_subflows_on_one_path_are_told_apart_by_where_they_lead(make):
    """A connection is led through a middlebox: a subflow to it, and then the direct one goes."""
    middlebox = End("10.0.4.2", 5001)
    made = make(
        {"when": "established", "of_address": "10.0.4.2", "do": "close", "path": "a",
         "to": REMOTE.address},
        {"when": "closed", "of_address": "10.0.4.2", "do": "close", "path": "a",
         "to": "10.0.7.7"},
    )  # fmt: skip
    made.say(*begin())
    assert made.kernel.done == []
    made.say(Event("subflow_established", 7, A, middlebox))
    assert made.kernel.done == [("destroy_subflow", 7, A, REMOTE)]
    made.say(Event("subflow_closed", 7, A, middlebox))
    said = "the connection has no subflow to 10.0.7.7 on the path a"
    assert made.log()[-1]["error"] == said
