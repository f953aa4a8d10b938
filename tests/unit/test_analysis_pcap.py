# SPDX-License-Identifier: Apache-2.0
"""Captures are read in every form, and no file makes the parser fail in an unforeseen way."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.parse.mptcp import initial_dsn_of, token_of
from analysis.parse.pcap import iter_packets, read_packets
from analysis.parse.records import iter_starts
from testbed.errors import RunInvalid
from tests.unit.analysis_recorded import CAPTURES
from tests.unit.analysis_synthetic import ACK, ENDS, dss, option, pcap_bytes, tcp_packet


def test_recorded_events_are_those_that_were_provoked() -> None:
    seen = {}
    for file in CAPTURES:
        case = file.parent.parent.name.rsplit("-", 1)[1]
        seen.setdefault(case, set()).update(
            event.subtype for event in read_packets(file.read_bytes()).events
        )

    common = {"MP_CAPABLE", "MP_JOIN"}
    assert seen["download"] == common | {"ADD_ADDR", "REMOVE_ADDR", "MP_PRIO"}
    assert seen["fastclose"] == common | {"MP_FASTCLOSE", "MP_TCPRST"}
    assert seen["migrate"] == common | {"REMOVE_ADDR", "MP_TCPRST"}
    assert seen["fallback"] == {"MP_CAPABLE"}


def test_mp_capable_with_data_implies_the_first_mapping() -> None:
    key = 0x0102030405060708
    raw = option(0x01, b"\1", struct.pack(">QQH", key, 9, 23))
    [packet] = read_packets(pcap_bytes([tcp_packet(0, ENDS, 1, 1, ACK, raw, 23)])).packets

    assert packet["mapped"] == 1
    assert packet["dsn"] == initial_dsn_of(key) + 1
    assert (packet["ssn"], packet["map_bytes"]) == (1, 23)


def test_token_and_initial_dsn_of_a_key() -> None:
    """Values that tshark prints for the key of a recorded SYN/ACK."""
    assert token_of(1188586974855523299) == 1920456037
    assert initial_dsn_of(1188586974855523299) == 3825789172771977657


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B23C4D, 1), (0xA1B2C3D4, 1000)])
def test_both_byte_orders_and_resolutions(order: str, magic: int, unit_ns: int) -> None:
    record = tcp_packet(0, ENDS, 5, 6, ACK, dss(7), 8)[16:]
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 128, 1)
    head += struct.pack(order + "IIII", 1_700_000_000, 123_456, len(record), len(record) + 8)

    [packet] = read_packets(head + record).packets

    assert packet["t_ns"] == 1_700_000_000 * 10**9 + 123_456 * unit_ns
    assert (packet["seq"], packet["data_ack"], packet["payload_bytes"]) == (5, 7, 8)


@pytest.mark.parametrize(("link_type", "header"), [
    (101, b""), (113, bytes(14) + b"\x08\0"), (276, b"\x08\0" + bytes(18)),
])  # fmt: skip
def test_other_link_types(link_type: int, header: bytes) -> None:
    frame = header + tcp_packet(0, ENDS, 5, 6, ACK, dss(7), 0)[30:]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 128, link_type)
    [packet] = read_packets(
        head + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    ).packets

    assert (packet["seq"], packet["data_ack"], packet["ip_version"]) == (5, 7, 4)


def as_pcapng(data: bytes, order: str = "<", resolution: int = 9) -> bytes:
    """Convert a nanosecond pcap file in little endian."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + size + body + size

    magic = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    options = struct.pack(order + "HHBxxx", 9, 1, resolution) + bytes(4)
    out = block(0x0A0D0D0A, magic) + block(1, struct.pack(order + "HHI", 1, 0, 128) + options)
    position = 24
    while position < len(data):
        seconds, fraction, captured, wire = struct.unpack_from("<4I", data, position)
        units = (seconds * 10**9 + fraction) // 10 ** (9 - resolution)
        frame = data[position + 16 : position + 16 + captured]
        head = struct.pack(order + "5I", 0, units >> 32, units & 0xFFFFFFFF, captured, wire)
        out += block(6, head + frame) + block(5, bytes(8))  # a statistics block between
        position += 16 + captured
    return out


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_gives_the_same_packets(order: str) -> None:
    data = CAPTURES[0].read_bytes()

    assert np.array_equal(read_packets(data).packets, read_packets(as_pcapng(data, order)).packets)


def test_a_file_cut_off_anywhere_gives_the_packets_before_the_cut() -> None:
    plain = CAPTURES[0].read_bytes()[:420]
    for data in (plain, as_pcapng(plain)):
        whole = read_packets(data).packets
        for end in range(28 if data[0] == 10 else 24, len(data)):
            some = read_packets(data[:end]).packets
            assert np.array_equal(some, whole[: some.size])


def test_a_snap_length_inside_any_header_loses_columns_only() -> None:
    full = tcp_packet(0, ENDS, 5, 6, ACK, dss(7, (8, 9, 10)), 100)[16:]
    for length in range(len(full) - 2):  # the last two bytes are padding
        head = struct.pack("<IIII", 0, 0, length, len(full) + 100)
        [packet] = read_packets(pcap_bytes([head + full[:length]])).packets
        assert packet["wire_bytes"] == len(full) + 100
        assert packet["ip_version"] == (4 if length >= 34 else 0)
        assert packet["seq"] == (5 if length >= 54 else 0)
        assert packet["mapped"] == 0
    [packet] = read_packets(pcap_bytes([struct.pack("<IIII", 0, 0, len(full), 999) + full])).packets
    assert packet["mapped"] == 1


def test_fragments_and_offloaded_segments() -> None:
    whole = bytearray(tcp_packet(0, ENDS, 5, 6, ACK, b"", 100))
    later, big = whole.copy(), whole.copy()
    later[16 + 14 + 6 : 16 + 14 + 8] = b"\x20\x05"  # fragment offset 5
    big[16 + 14 + 2 : 16 + 14 + 4] = b"\0\0"  # total length 0
    fragment, segment = read_packets(pcap_bytes([bytes(later), bytes(big)])).packets

    assert (fragment["tcp_header_bytes"], fragment["ip_bytes"]) == (0, 140)
    assert (segment["ip_bytes"], segment["payload_bytes"]) == (140, 100)


def naive_starts(data: bytes) -> list[int]:
    starts, position = [], 24
    while position + 16 <= len(data):
        size = struct.unpack_from("<I", data, position + 8)[0]
        if position + 16 + size <= len(data):
            starts.append(position)
        position += 16 + size
    return starts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(200, 4000), st.sampled_from([1 << 12, 1 << 14, 1 << 20]))
def test_records_are_found_among_headers_that_are_payload(
    seed: int, step: int, window: int
) -> None:
    """Payloads full of plausible record headers mislead the search, never the result."""
    rng = random.Random(seed)
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 128, 1)]
    for number in range(rng.randrange(1, 400)):
        size = rng.choice([0, 1, 20, 66, 128, 128, 128, 900])
        fake = struct.pack("<IIII", 1_700_000_000 + number, 7, rng.choice([16, 48, 64]), 1500)
        body = (fake * 60)[:size] if rng.random() < 0.7 else rng.randbytes(size)
        out.append(struct.pack("<IIII", 1_700_000_000 + number, 9, size, size + 3) + body)
    data = b"".join(out)
    array = np.frombuffer(data, dtype=np.uint8)

    found = [int(start) for part in iter_starts(array, "<", window, step) for start in part]

    assert found == naive_starts(data)


def test_an_impossible_length_is_reported_wherever_it_is() -> None:
    """Also in the middle of a large file, where records are searched in segments."""
    record = tcp_packet(0, ENDS, 5, 6, ACK, dss(7), 0)
    wild = record[:8] + struct.pack("<I", 0xFFFFFF) + record[12:]
    for before in (0, 1, 5000):
        data = pcap_bytes([record] * before + [wild] + [record] * 20_000)
        with pytest.raises(RunInvalid, match="claims 16777215 captured bytes"):
            list(iter_starts(np.frombuffer(data, dtype=np.uint8), "<"))


@pytest.mark.parametrize("data", [b"", b"\xd4\xc3\xb2\xa1", b"PK\3\4" + bytes(100)])
def test_what_is_no_capture_is_refused_in_one_sentence(data: bytes) -> None:
    with pytest.raises(RunInvalid, match=r"^[a-z][^\n]*$"):
        read_packets(data)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"", *(m + bytes(20) for m in (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1\2\0\4\0" + bytes(8) + b"\0\1\0\0\1"
))]), st.binary(max_size=300))  # fmt: skip
def test_random_bytes_raise_our_error_or_nothing(head: bytes, tail: bytes) -> None:
    try:
        read_packets(head + tail)
    except RunInvalid as error:
        assert "\n" not in str(error)


@settings(max_examples=80, deadline=None)
@given(st.booleans(), st.integers(0, 2**32), st.integers(1, 30))
def test_damaged_captures_raise_our_error_or_nothing(is_ng: bool, seed: int, hits: int) -> None:
    rng = random.Random(seed)
    plain = CAPTURES[1].read_bytes()[:6000]
    data = bytearray(as_pcapng(plain[: naive_starts(plain)[-1]]) if is_ng else plain)
    for _ in range(hits):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        read_packets(bytes(data))
    except RunInvalid as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 15))
def test_random_options_never_fail(options: bytes, offset: int) -> None:
    record = bytearray(tcp_packet(0, ENDS, 1, 2, ACK, options[:40]))
    record[16 + 14 + 20 + 12] = offset << 4
    read_packets(pcap_bytes([bytes(record)]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(
    st.integers(0, 2**61), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1), st.integers(1, 1400),
), min_size=1, max_size=20))  # fmt: skip
def test_what_is_written_is_read(rows: list[tuple[int, int, int, int, int]]) -> None:
    rows = [(t % (2**31 * 10**9), *rest) for t, *rest in rows]
    data = pcap_bytes([
        tcp_packet(t, ENDS, seq, seq // 2, ACK, dss(dsn // 3, (dsn, ssn, size)), size)
        for t, seq, dsn, ssn, size in rows
    ])  # fmt: skip
    packets = read_packets(data).packets

    columns = ("t_ns", "seq", "dsn", "ssn", "payload_bytes")
    assert [tuple(int(p[c]) for c in columns) for p in packets] == rows
    assert [int(p["data_ack"]) for p in packets] == [dsn // 3 for _, _, dsn, _, _ in rows]


def test_chunks_are_the_whole_in_order() -> None:
    data = CAPTURES[0].read_bytes()
    whole, parts = read_packets(data), list(iter_packets(data, chunk_packets=100))

    assert np.array_equal(np.concatenate([part.packets for part in parts]), whole.packets)
    assert [event for part in parts for event in part.events] == whole.events
    assert [part.first_packet for part in parts] == list(range(0, whole.packets.size, 100))
