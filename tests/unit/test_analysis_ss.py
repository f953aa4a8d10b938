# SPDX-License-Identifier: Apache-2.0
"""Socket statistics, counters and capture statistics are read as the tools wrote them."""

import random
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import sockets
from analysis.parse.mptcp import token_of
from analysis.parse.nstat import parse_nstat
from analysis.parse.pcap import read_packets
from analysis.parse.ss import MPTCP_INFO, TCP_INFO, parse_ss
from analysis.parse.tcpdump import CaptureStatistics, parse_tcpdump
from analysis.tables import Origin
from testbed.errors import RunInvalid
from tests.unit.analysis_recorded import recorded_dir

RAW, FALLBACK = (recorded_dir(case) / "raw" for case in ("download", "fallback"))


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, 2, 1, 0) + body + bytes(-len(body) % 4)


def record(*messages: bytes, protocol: int = 6, t_ns: int = 5) -> bytes:
    body = b"".join(messages)
    return struct.pack("<QII", t_ns, protocol, len(body)) + body


@pytest.mark.parametrize(("field", "offset"), [
    ("rtt_us", 68), ("snd_cwnd", 80), ("total_retrans", 100), ("pacing_rate", 104),
    ("bytes_acked", 120), ("min_rtt_us", 148), ("delivery_rate", 160), ("bytes_sent", 200),
    ("snd_wnd", 228), ("total_rto", 240), ("received_ce", 248),
])  # fmt: skip
def test_offsets_of_tcp_info(field: str, offset: int) -> None:
    """The values are those of a C compiler for include/uapi/linux/tcp.h of Linux 7.3."""
    assert TCP_INFO.fields is not None
    assert TCP_INFO.fields[field][1] == offset


@pytest.mark.parametrize(("field", "offset"), [
    ("flags", 8), ("write_seq", 16), ("retransmits", 44), ("bytes_retrans", 48),
    ("subflows_total", 80), ("last_ack_recv_ms", 92),
])  # fmt: skip
def test_offsets_of_mptcp_info(field: str, offset: int) -> None:
    assert MPTCP_INFO.fields is not None
    assert MPTCP_INFO.fields[field][1] == offset


def test_recorded_subflows_have_the_tokens_of_the_captured_keys() -> None:
    keys = [e.sender_key for e in read_packets((RAW / "laptop.wifi.pcap").read_bytes()).events]
    tokens = {token_of(key) for key in keys if key is not None}

    for host in ("laptop", "proxy"):
        samples = parse_ss((RAW / f"{host}.ss.bin").read_bytes())
        mine = samples.tcp[samples.tcp["is_subflow"] == 1]
        assert len(mine) > 20
        assert set(mine["token_local"].tolist()) <= tokens
        assert set(mine["congestion_control"].tolist()) == {b"reno"}
        assert set(samples.mptcp["info"]["token"].tolist()) - {0} <= tokens


def test_recorded_bytes_are_those_of_the_download() -> None:
    proxy = parse_ss((RAW / "proxy.ss.bin").read_bytes()).mptcp

    assert proxy["info"]["bytes_sent"].max() == 900_000
    assert (np.diff(proxy["t_ns"]) >= 0).all()


def test_a_connection_that_fell_back_says_so() -> None:
    for raw, is_fallback in ((RAW, False), (FALLBACK, True)):
        samples = parse_ss((raw / "laptop.ss.bin").read_bytes()).mptcp
        rows = sockets.connection_rows(samples, Origin("r", "laptop"))
        assert rows["is_fallback"].any() == is_fallback


def test_rows_have_units_and_the_path_of_their_subflow() -> None:
    samples = parse_ss((RAW / "laptop.ss.bin").read_bytes())
    ends = sockets.socket_rows(samples.tcp, Origin("r", "laptop"), {})[["local", "remote"]]
    known = dict.fromkeys(set(ends.itertuples(index=False, name=None)), (7, "3g"))

    rows = sockets.socket_rows(samples.tcp, Origin("r", "laptop"), known)

    assert set(rows["subflow"]) == {7}
    assert set(rows["path"]) == {"3g"}
    assert rows["min_rtt_ms"].dropna().between(0.001, 100).all()
    assert rows.loc[rows["state"] == "ESTAB", "cwnd_packets"].min() >= 1


def test_fields_that_an_old_kernel_lacks_are_not_a_number() -> None:
    """Linux 4.9 filled 192 bytes of tcp_info: without bytes_sent."""
    diag = struct.pack("<BBBBHH16s16sIQ5I", 2, 1, 0, 0, 1, 2, b"", b"", 0, 0, 0, 0, 0, 0, 0)
    info = bytearray(192)
    info[68:72] = struct.pack("<I", 1500)
    attribute = struct.pack("<HH", 4 + len(info), 2) + info
    rows = sockets.socket_rows(
        parse_ss(record(message(20, diag + attribute))).tcp, Origin("r", "h"), {}
    )

    assert rows.loc[0, "rtt_ms"] == 1.5
    assert np.isnan(rows.loc[0, "sent_bytes"])


def test_a_record_cut_off_by_the_end_is_left_out() -> None:
    data = (RAW / "laptop.ss.bin").read_bytes()
    whole = parse_ss(data)
    for cut in (1, 10, 1000):
        some = parse_ss(data[:-cut])
        assert len(some.tcp) + len(some.mptcp) < len(whole.tcp) + len(whole.mptcp) + 1


@pytest.mark.parametrize(("data", "says"), [
    (record(message(2, struct.pack("<i", -1))), "refused a socket dump with error 1"),
    (record(struct.pack("<IHHII", 8, 20, 0, 0, 0)), "length of 8 bytes"),
    (record(struct.pack("<IHHII", 99, 20, 0, 0, 0)), "length of 99 bytes"),
    (record(protocol=17), "protocol 17"),
])  # fmt: skip
def test_impossible_dumps_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(RunInvalid, match=says):
        parse_ss(data)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_damaged_dumps_raise_our_error_or_nothing(seed: int, hits: int) -> None:
    rng = random.Random(seed)
    data = bytearray((RAW / "laptop.ss.bin").read_bytes()[:4000])
    for _ in range(hits):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        samples = parse_ss(bytes(data))
        sockets.socket_rows(samples.tcp, Origin("r", "h"), {})
        sockets.connection_rows(samples.mptcp, Origin("r", "h"))
    except RunInvalid as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_attributes_never_fail(attributes: bytes) -> None:
    parse_ss(record(message(20, bytes([2, 1]) + bytes(70) + attributes)))


def test_nstat_gives_names_as_nstat_prints_them() -> None:
    counters = parse_nstat((RAW / "laptop.nstat.end.txt").read_text())

    assert counters["MPTcpExtMPCapableSYNTX"] == 1
    assert counters["MPTcpExtMPPrioTx"] == 2
    assert counters["TcpMaxConn"] == -1
    assert counters.get("MPTcpExtOfALaterKernel", 0) == 0


@pytest.mark.parametrize("text", ["Tcp: A B\n", "Tcp: A B\nTcp: 1\n", "Tcp: A\nIp: 1\n", "A\nA\n",
                                  "Tcp: A\nTcp: x\n", "Tcp A\nTcp 1\n"])  # fmt: skip
def test_counters_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(RunInvalid):
        parse_nstat(text)


@given(st.text(alphabet="Tcp: 1\nA", max_size=60))
def test_random_counters_raise_our_error_or_nothing(text: str) -> None:
    try:
        parse_nstat(text)
    except RunInvalid as error:
        assert "\n" not in str(error)


def test_tcpdump_statistics() -> None:
    text = (RAW / "laptop.wifi.tcpdump.txt").read_text()
    said = parse_tcpdump(text + "3 packets dropped by interface\n")

    assert said.captured == said.received == len(read_packets(
        (RAW / "laptop.wifi.pcap").read_bytes()).packets)  # fmt: skip
    assert (said.dropped_by_kernel, said.dropped_by_interface) == (0, 3)
    assert parse_tcpdump("1 packet captured\n") == CaptureStatistics(captured=1)
    assert parse_tcpdump("") == CaptureStatistics()
