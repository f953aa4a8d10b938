# SPDX-License-Identifier: Apache-2.0
"""Packets are taken apart and put together without loss, and tshark finds no fault in them."""

import shutil
import struct
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import packet
from testbed.packet import ACK, DSS, MPTCP, MSS, NOP, SACK, SYN, Option, Segment
from tests.unit.analysis_synthetic import pcap_bytes
from tests.unit.packet_synthetic import CLIENT, DSS_OPTION, SERVER, segment

words, halves, octets = (st.integers(0, 2**bits - 1) for bits in (32, 16, 8))
options = st.lists(
    st.one_of(
        st.just(Option(NOP)),
        st.builds(Option, st.sampled_from([MSS, SACK, 8, MPTCP]), st.binary(max_size=10)),
    ),
    max_size=3,
).map(tuple)
segments = st.builds(
    Segment,
    source=st.binary(min_size=4, max_size=4),
    target=st.binary(min_size=4, max_size=4),
    source_port=halves,
    target_port=halves,
    seq=words,
    ack=words,
    flags=octets,
    window=halves,
    payload=st.binary(max_size=300),
    options=options,
    urgent=halves,
    reserved=st.integers(0, 15),
    ttl=octets,
    service=octets,
    identification=halves,
)


@given(segments)
def test_what_was_put_together_is_taken_apart_again(one):
    found = packet.parse(packet.build(one))
    assert replace(found, padding=b"") == one
    assert packet.build(found) == packet.build(one)


@given(segments)
def test_checksums_are_of_the_whole(one):
    made = packet.build(one)
    head = 4 * (made[0] & 15)
    pseudo = made[12:20] + b"\0\x06" + (len(made) - head).to_bytes(2, "big")
    assert packet.checksum(made[:head]) == 0
    assert packet.checksum(pseudo + made[head:]) == 0


def sum_of_words(data):
    """RFC 1071 as it is written there."""
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=100))
def test_checksum_is_the_standards(data):
    assert packet.checksum(data) == sum_of_words(data)


@given(st.binary(max_size=80))
def test_no_bytes_are_too_odd_to_be_looked_at(data):
    found = packet.parse(data)
    assert found is None or isinstance(found, Segment)


@pytest.mark.parametrize("cut", [0, 19, 39, 60])
def test_what_is_cut_off_is_no_packet(cut):
    made = packet.build(segment(payload=b"x" * 60))
    assert packet.parse(made[:cut]) is None


def test_fragments_and_other_protocols_are_left_alone():
    made = bytearray(packet.build(segment()))
    assert packet.parse(bytes([*made[:6], 0x20, *made[7:]])) is None
    assert packet.parse(bytes([*made[:9], 17, *made[10:]])) is None


def test_malformed_options_are_no_options():
    assert packet.split_options(bytes([8, 1])) is None
    assert packet.split_options(bytes([8, 12, 0])) is None
    assert packet.split_options(bytes([NOP, 0, 9, 9])) == ((Option(NOP),), bytes([0, 9, 9]))


def test_a_stripped_option_leaves_as_many_bytes():
    one = segment(options=(Option(NOP), Option(NOP), DSS_OPTION))
    bare = packet.without_mptcp(one, DSS)
    assert not bare.has(DSS)
    assert len(packet.build(bare)) == len(packet.build(one))
    assert packet.without_mptcp(one, packet.MP_JOIN) == one


def test_acknowledgements_are_moved_with_sack_and_around_the_end():
    edges = b"\xff\xff\xff\xf0\x00\x00\x00\x10"
    one = segment(flags=ACK, ack=2**32 - 1, options=(Option(SACK, edges),))
    moved = packet.shift_acknowledgements(one, 0x20)
    assert (moved.ack, moved.options[0].data.hex()) == (0x1F, "0000001000000030")
    assert packet.shift_acknowledgements(segment(flags=SYN, ack=0), 5).ack == 0


def test_sequence_numbers_are_compared_around_the_end():
    assert packet.after(3, 2**32 - 2) == 5
    assert packet.after(2**32 - 2, 3) == -5


def test_tshark_finds_the_checksums_right(tmp_path):
    """The packets of every act's making go through the same function."""
    assert shutil.which("tshark"), "install tshark (Debian, Ubuntu: apt-get install tshark)"
    made = [
        segment(payload=bytes(range(size % 256)), options=(Option(NOP), Option(NOP), DSS_OPTION))
        for size in (0, 1, 2, 99, 1400)
    ]
    made += [replace(made[1], flags=SYN, options=(Option(MSS, b"\x05\xb4"),))]
    packets = [packet.build(one) for one in made]
    packets.append(packets[0][:-1] + bytes([packets[0][-1] ^ 1]))  # a wrong one
    file = tmp_path / "made.pcap"
    frames = [b"\0" * 12 + b"\x08\x00" + one for one in packets]
    records = [struct.pack("<IIII", 1, 0, len(one), len(one)) + one for one in frames]
    file.write_bytes(pcap_bytes(records))
    told = subprocess.run(
        ["tshark", "-r", file, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
         "-T", "fields", "-e", "ip.checksum.status", "-e", "tcp.checksum.status"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    assert told == ["1", "1"] * len(made) + ["1", "0"]
    assert {CLIENT, SERVER} == {packet.text(made[0].source), packet.text(made[0].target)}
