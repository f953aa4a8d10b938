# SPDX-License-Identifier: Apache-2.0
"""What a middlebox does to segments, and that the evidence sees it and sees it missing."""

from dataclasses import replace

import pytest

from analysis.interference_evidence import examine
from testbed import packet
from testbed.packet import ADD_ADDR, DSS, MPTCP, SACK, SYN, Option
from testbed.workloads.interference_acts import Edit, acknowledging, edited, make_act
from tests.unit.interference_synthetic import download, pass_through, passage
from tests.unit.packet_synthetic import CLIENT_ISN, PORT, SERVER_ISN, SIZE, segment

ANNOUNCED = Option(MPTCP, b"\x30" + bytes(13))
SENT = [*download(8), segment(seq=1, options=(ANNOUNCED,))]


def stream(seen):
    """Return the bytes that a receiver puts together, by their sequence numbers."""
    parts = {s.segment.seq: s.segment.payload for s in seen
             if s.segment.source_port == PORT and s.segment.payload}  # fmt: skip
    at, found = (SERVER_ISN + 1) % packet.MODULO, b""
    while at in parts:
        found += parts[at]
        at = (at + len(parts[at])) % packet.MODULO
    return found


WHOLE = b"".join(one.payload for one in SENT)

CASES = {
    "stripped": ({"name": "strip_option", "subtype": DSS}, {"kind": "stripped", "subtype": DSS}),
    "stripped late": (
        {"name": "strip_option", "subtype": DSS, "after_bytes": 3 * SIZE},
        {"kind": "stripped", "subtype": DSS},
    ),
    "stripped announcement": (
        {"name": "strip_option", "subtype": ADD_ADDR},
        {"kind": "stripped", "subtype": ADD_ADDR},
    ),
    "dropped": (
        {"name": "drop_option", "subtype": ADD_ADDR},
        {"kind": "dropped", "subtype": ADD_ADDR},
    ),
    "renumbered": ({"name": "rewrite_sequence", "seed": 7}, {"kind": "renumbered"}),
    "split": ({"name": "split", "is_copied": True}, {"kind": "split"}),
    "split once": ({"name": "split", "is_copied": False}, {"kind": "split"}),
    "edited": ({"name": "change_payload", "is_longer": False}, {"kind": "edited"}),
    "longer": ({"name": "change_payload", "is_longer": True}, {"kind": "edited"}),
    "ordered": ({"name": "hold_to_order", "every": 3}, {"kind": "ordered"}),
}


@pytest.mark.parametrize("case", CASES)
def test_evidence_sees_what_an_act_does(case):
    act, said = CASES[case]
    found = examine(passage(SENT, act), said)
    assert found.is_met, found.said
    assert found.first_ns is not None


@pytest.mark.parametrize("case", CASES)
def test_evidence_sees_that_nothing_was_done(case):
    _, said = CASES[case]
    assert not examine(passage(SENT, change=lambda one: one), said).is_met


def test_evidence_of_joined_segments():
    sent = download(8, size=600)
    said = {"kind": "joined"}
    down = [one for one in sent if one.source_port == PORT]
    up = [one for one in sent if one.source_port != PORT]
    found = examine(passage([*down, *up], {"name": "coalesce"}), said)
    assert found.is_met
    assert found.said == "8 data segments became 4, 4 of them two in one"
    assert not examine(passage(sent, change=lambda one: one), said).is_met


def test_without_a_middlebox_nothing_is_changed():
    said = {"kind": "same"}
    assert examine(passage(SENT, change=lambda one: one), said).is_met
    assert not examine(passage(SENT, change=lambda one: replace(one, window=1)), said).is_met
    assert not examine(passage([], change=lambda one: one), said).is_met


def test_evidence_of_a_translation():
    def translate(one):
        if one.target_port != PORT:
            return one
        return replace(one, source=b"\x0a\x00\x03\x02", source_port=40404)

    said = {"kind": "translated"}
    found = examine(passage(SENT, change=translate), said)
    assert (found.is_met, found.said) == (True, "10.0.1.2:40001 became 10.0.3.2:40404")
    assert not examine(passage(SENT, change=lambda one: one), said).is_met


def test_evidence_of_a_handshake_counts_its_own_segment_only():
    def strip(one):
        return packet.without_mptcp(one, 0) if one.flags == SYN else one

    made = passage(SENT, change=strip)
    said = {"kind": "stripped", "subtype": 0, "is_syn": True}
    assert examine(made, {**said, "is_ack": False}).is_met
    assert not examine(made, {**said, "is_ack": True}).is_met


def test_an_option_that_comes_through_later_is_seen():
    def strip(one):
        return packet.without_mptcp(one, DSS) if one.payload[:1] == b"\x02" else one

    found = examine(passage(SENT, change=strip), {"kind": "stripped", "subtype": DSS})
    assert (found.is_met, found.said) == (
        False,
        "1 segments came out without the option, 6 with it since then",
    )


def test_numbers_that_do_not_go_with_their_first_are_seen():
    def shift(one):
        return replace(one, seq=one.seq + 7) if one.flags & SYN else one

    assert not examine(passage(SENT, change=shift), {"kind": "renumbered"}).is_met


@pytest.mark.parametrize("case", ["split", "split once", "stripped", "edited"])
def test_the_stream_keeps_its_length(case):
    act, _ = CASES[case]
    _, far = pass_through(make_act({"port": PORT, **act}), SENT)
    assert len(stream(far)) == len(WHOLE)


def test_a_split_stream_is_the_same():
    _, far = pass_through(make_act({"port": PORT, "name": "split", "is_copied": True}), SENT)
    assert stream(far) == WHOLE


def test_a_longer_payload_moves_all_that_follows():
    act = make_act({"port": PORT, "name": "change_payload", "is_longer": True})
    _, far = pass_through(act, SENT)
    found = stream(far)
    assert len(found) == len(WHOLE) + 5
    assert found[21:] == WHOLE[16:]
    syn = far[0].segment
    assert int.from_bytes(syn.options[0].data, "big") == 1460 - 5


def test_acknowledgements_come_back_as_the_sender_counts():
    edit = Edit(1000, 16, bytes(21))
    numbers = {900: 900, 1000: 1000, 1010: 1000, 1021: 1016, 3005: 3000}
    for said, meant in numbers.items():
        assert acknowledging(segment(is_down=False, ack=said), edit).ack == meant
    edges = (3005).to_bytes(4, "big") + (4005).to_bytes(4, "big")
    sack = acknowledging(segment(is_down=False, ack=900, options=(Option(SACK, edges),)), edit)
    assert sack.options[0].data == (3000).to_bytes(4, "big") + (4000).to_bytes(4, "big")


def test_what_is_sent_again_is_changed_again():
    edit = Edit(1000, 16, b"y" * 21)
    again = edited(segment(seq=900, payload=b"x" * 200), edit)
    assert again.payload == b"x" * 100 + b"y" * 21 + b"x" * 84
    assert edited(segment(seq=1016, payload=b"x"), edit).seq == 1021


def test_renumbering_depends_on_seed_connection_and_direction():
    def offsets(seed, port=40001):
        act = make_act({"port": PORT, "name": "rewrite_sequence", "seed": seed})
        up = replace(segment(is_down=False, seq=0), source_port=port)
        down = replace(segment(seq=0), target_port=port)
        return act.take(up)[0].seq, act.take(down)[0].seq

    assert offsets(1) == offsets(1)
    assert len({*offsets(1), *offsets(2), *offsets(1, 40002)}) == 6


def test_a_held_segment_leaves_with_the_next_or_after_a_while():
    act = make_act({"port": PORT, "name": "coalesce"})
    first, second = (one for one in download(2, size=600) if one.payload)
    assert (act.take(first), act.is_holding) == ([], True)
    assert [len(one.payload) for one in act.take(second)] == [1200]
    assert not act.is_holding
    act.take(first)
    assert act.take(replace(second, seq=second.seq + 5)) == [
        first,
        replace(second, seq=second.seq + 5),
    ]
    act.take(first)
    assert (act.flush(), act.is_holding) == ([first], False)


def test_nothing_passes_beyond_a_hole():
    act = make_act({"port": PORT, "name": "hold_to_order", "every": 2})
    _, syn_ack, *rest = download(4)
    data = [one for one in rest if one.payload]
    assert act.take(syn_ack) == [syn_ack]
    assert [len(act.take(one)) for one in data] == [1, 0, 0, 0]
    assert [len(act.take(one)) for one in data[1:]] == [1, 1, 0]
    assert [len(act.take(one)) for one in data[3:]] == [1]
    assert act.take(rest[1]) == [rest[1]]
    assert rest[1].seq == CLIENT_ISN + 1
