# SPDX-License-Identifier: Apache-2.0
"""The program that marks packets, carried out by a few lines of Python."""

import pytest

from testbed.emulation import marking
from testbed.emulation.marking import INSTRUCTION, program
from testbed.errors import PlanError, PrerequisiteError
from testbed.plan import plan_run
from testbed.spec.load import parse_spec

RATE, LIMIT, THRESHOLD = 12_500_000, 15_000, 4500  # bytes per second, bytes
PACKET = 1500
PACKET_NS = 120_000
MASK = 2**64 - 1


class Machine:
    """The program and its state; `arrive` says whether a packet was marked."""

    def __init__(self, code):
        self._code = list(INSTRUCTION.iter_unpack(code))
        self.empty_at_ns = 0

    def arrive(self, now_ns, size=PACKET):
        registers, at, is_marked = [0] * 10, 0, False
        while True:
            code, both, offset, constant = self._code[at]
            to, source = both & 15, both >> 4
            at += 1
            if code == marking.EXIT:
                assert registers[0] == marking.TCX_NEXT & MASK
                return is_marked
            if code == marking.LOAD_CONSTANT:
                high = self._code[at][3]
                at += 1
                registers[to] = (high & 0xFFFFFFFF) << 32 | constant & 0xFFFFFFFF
            elif code == marking.LOAD_WORD:
                registers[to] = size + marking.ETHERNET_BYTES
            elif code == marking.LOAD_LONG:
                registers[to] = self.empty_at_ns
            elif code == marking.STORE_LONG:
                self.empty_at_ns = registers[source]
            elif code == marking.CALL:
                is_marked |= constant == marking.SKB_ECN_SET_CE
                registers[0] = now_ns
            elif code == marking.IF_GREATER:
                at += offset if registers[to] > registers[source] else 0
            elif code == marking.IF_NOT_GREATER:
                at += offset if registers[to] <= registers[source] else 0
            else:
                registers[to] = self._computed(code, registers[to], registers[source], constant)

    def _computed(self, code, value, other, constant):
        return {
            marking.MOVE: other,
            marking.MOVE_CONSTANT: constant,
            marking.ADD: value + other,
            marking.ADD_CONSTANT: value + constant,
            marking.SUBTRACT: value - other,
            marking.MULTIPLY: value * other,
            marking.SHIFT_RIGHT_CONSTANT: value >> max(constant, 0),
        }[code] & MASK


def machine():
    return Machine(program(7, RATE, LIMIT, THRESHOLD))


def test_packets_that_find_more_than_the_threshold_are_marked():
    queue = machine()
    assert [queue.arrive(1000) for _ in range(6)] == [False] * 4 + [True] * 2
    # Two packets later four are left.
    assert [queue.arrive(1000 + 2 * PACKET_NS) for _ in range(2)] == [True, True]
    assert not queue.arrive(1000 + 8 * PACKET_NS)


def test_what_the_queue_has_no_room_for_is_not_counted():
    queue = machine()
    for _ in range(100):
        queue.arrive(0)
    assert queue.empty_at_ns == LIMIT // PACKET * PACKET_NS


def test_a_slow_link_and_a_fast_one_keep_their_time():
    for rate in (12_500, 1_250_000_000):
        queue = Machine(program(7, rate, 2**31, 2**30))
        for _ in range(100):
            queue.arrive(0)
        assert queue.empty_at_ns == pytest.approx(100 * PACKET * 10**9 / rate, rel=1e-3)


def test_other_machines_are_refused(monkeypatch):
    monkeypatch.setattr(marking.platform, "machine", lambda: "mips")
    with pytest.raises(
        PrerequisiteError, match="not known on mips; use another congestion control"
    ):
        marking.mark_queue(1, 10**8, LIMIT, THRESHOLD)


SPEC = """\
schema: 1
name: grin
question: Does it mark?
topology: {name: vl2, parameters: {ports: 4, rate: 10 Mbit/s, fabric_speedup: 2}}
duration: 4 s
workload: {name: permutation}
"""


def plan(**said):
    values = {key.replace("__", "."): value for key, value in said.items()}
    return plan_run(parse_spec(SPEC, "f.yaml", values), 1)


def marks(made):
    links = made["topology"]["links"]
    return {way.get("mark_bytes") for link in links for way in (link["a_to_b"], link["b_to_a"])}


def test_queues_mark_for_dctcp_alone_and_by_their_rate():
    assert marks(plan()) == {None}
    assert marks(plan(tcp__congestion_control="dctcp")) == {30_000, 60_000}
    parameters = {"ports": 4, "rate": "10 Mbit/s", "mark_packets": 5, "fabric_speedup": 1}
    asked = {"name": "vl2", "parameters": parameters}
    assert marks(plan(tcp__congestion_control="dctcp", topology=asked)) == {7500}


@pytest.mark.parametrize(
    "said",
    [
        {"links": {"h0-t0": {"loss": 0.1}}},
        {"events": [{"at": "1 s", "change": "link_down", "link": "h0-t0"}]},
    ],
)
def test_links_that_change_or_lose_cannot_mark(said):
    with pytest.raises(PlanError, match='dctcp needs queues that mark packets.* "h0-t0" is none'):
        plan(tcp__congestion_control="dctcp", **said)


def test_a_queue_that_never_marks_is_refused():
    with pytest.raises(PlanError, match="mark_packets is 0; the least queue that marks is 1"):
        plan(topology={"name": "vl2", "parameters": {"mark_packets": 0}})
