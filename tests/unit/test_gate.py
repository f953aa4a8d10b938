# SPDX-License-Identifier: Apache-2.0
"""One NIC by turns: when which links are open, with a network that only writes down."""

import json

import pytest

from testbed.emulation import gate as gate_module
from testbed.emulation.gate import Gate
from testbed.netlink.qdisc import LinkChange
from testbed.timetable import Timetable

MS = 1_000_000


class Network:
    def __init__(self, clock):
        way = {"rate_bps": 8_000_000}
        self.links = {name: {"a_to_b": way, "b_to_a": way} for name in ("w1-ap1", "w1-ap2")}
        self.changes, self.delivered, self._clock = [], {}, clock

    def change_link(self, name, direction, change):
        self.changes.append((self._clock.now_ns // MS, name, direction, change.rate_bps))

    def delivered_bytes(self, name, direction):
        return self.delivered.get(name, lambda at_ns: 0)(self._clock.now_ns)


class Clock:
    now_ns = 0


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(gate_module.time, "monotonic_ns", lambda: made.now_ns)
    return made


def radio(cycle, *, scans=(), is_adaptive=False, slot_s=0.1):
    return {
        "links": [{"nic": "w1", "link": name} for name in ("w1-ap1", "w1-ap2")],
        "scans": list(scans),
        "slots": {
            "nic": "w1",
            "slot_s": slot_s,
            "switch_s": 0.005,
            "is_adaptive": is_adaptive,
            "silence_s": 0.01,
            "epochs": [{"at_s": 0.0, "cycle": cycle}],
        }
        if cycle
        else None,
    }


def run(plan, clock, tmp_path, until_ms, prepare=lambda network, gate: None):
    """Return the log as (ms, open links), and the network."""
    network, timetable = Network(clock), Timetable()
    gate = Gate(network, plan, tmp_path / "gate.jsonl")
    gate.start(timetable, 0)
    prepare(network, gate)
    while (at_ns := timetable.next_ns()) is not None and at_ns <= until_ms * MS:
        clock.now_ns = max(clock.now_ns, at_ns)
        timetable.call_due(clock.now_ns)
    gate.close()
    lines = [json.loads(line) for line in (tmp_path / "gate.jsonl").read_text().splitlines()]
    return [(round(line["t_s"] * 1e3), line["open"]) for line in lines], network


def test_each_slot_begins_with_the_switch(clock, tmp_path):
    log, _ = run(radio([["w1-ap1"], ["w1-ap2"]]), clock, tmp_path, 210)
    assert log == [
        (0, ["w1-ap1", "w1-ap2"]),
        (0, []),
        (5, ["w1-ap1"]),
        (100, []),
        (105, ["w1-ap2"]),
        (200, []),
        (205, ["w1-ap1"]),
    ]


def test_both_directions_are_closed_before_others_open(clock, tmp_path):
    _, network = run(radio([["w1-ap1"], ["w1-ap2"]]), clock, tmp_path, 105)
    assert network.changes[-4:] == [
        (100, "w1-ap1", "a_to_b", 0),
        (100, "w1-ap1", "b_to_a", 0),
        (105, "w1-ap2", "a_to_b", 8_000_000),
        (105, "w1-ap2", "b_to_a", 8_000_000),
    ]


def test_access_points_of_one_channel_stay_open(clock, tmp_path):
    log, _ = run(radio([["w1-ap1", "w1-ap2"]]), clock, tmp_path, 1000)
    assert log[1:] == [(0, []), (5, ["w1-ap1", "w1-ap2"])]


def test_a_scan_closes_all_links_and_the_turn_goes_on(clock, tmp_path):
    plan = radio([["w1-ap1"], ["w1-ap2"]], scans=[(0.02, 0.07, "w1")])
    log, _ = run(plan, clock, tmp_path, 110)
    assert log[2:] == [(5, ["w1-ap1"]), (20, []), (70, ["w1-ap1"]), (100, []), (105, ["w1-ap2"])]


def test_scans_without_slots(clock, tmp_path):
    log, _ = run(radio(None, scans=[(1.0, 1.05, "w1")]), clock, tmp_path, 2000)
    assert log == [(0, ["w1-ap1", "w1-ap2"]), (1000, []), (1050, ["w1-ap1", "w1-ap2"])]


def test_a_rate_that_changes_comes_when_the_link_opens(clock, tmp_path):
    def prepare(network, gate):
        gate.change("w1-ap2", "b_to_a", LinkChange(rate_bps=5_000_000, loss_fraction=0.1))

    plan = radio([["w1-ap1"], ["w1-ap2"]])
    plan["slots"]["epochs"][0]["cycle"] = [["w1-ap1"], ["w1-ap2"]]
    _, network = run(plan, clock, tmp_path, 110, prepare)
    assert (105, "w1-ap2", "b_to_a", 5_000_000) in network.changes


def test_an_adaptive_slot_ends_after_the_silence(clock, tmp_path):
    def prepare(network, gate):
        network.delivered["w1-ap1"] = lambda at_ns: min(at_ns, 40 * MS)  # busy until 40 ms

    plan = radio([["w1-ap1"], ["w1-ap2"]], is_adaptive=True)
    log, _ = run(plan, clock, tmp_path, 75, prepare)
    # Looks are 5 ms apart: at 40 ms there was something, at 45 and 50 ms there was not.
    assert log[2:6] == [(5, ["w1-ap1"]), (50, []), (55, ["w1-ap2"]), (65, [])]


def test_a_slot_that_is_never_silent_lasts_as_long_as_a_fixed_one(clock, tmp_path):
    def prepare(network, gate):
        network.delivered = {name: (lambda at_ns: at_ns) for name in network.links}

    plan = radio([["w1-ap1"], ["w1-ap2"]], is_adaptive=True)
    log, _ = run(plan, clock, tmp_path, 205, prepare)
    assert [at_ms for at_ms, _ in log] == [0, 0, 5, 100, 105, 200, 205]


def test_the_end_lets_through_what_waits(clock, tmp_path):
    network = Network(clock)
    gate = Gate(network, radio([["w1-ap1"], ["w1-ap2"]]), tmp_path / "gate.jsonl")
    timetable = Timetable()
    gate.start(timetable, 0)
    clock.now_ns = 50 * MS
    timetable.call_due(0)
    gate.release()
    gate.close()
    assert {change[1] for change in network.changes if change[3]} == {"w1-ap1", "w1-ap2"}
