# SPDX-License-Identifier: Apache-2.0
"""Bulk flows as far as they go without a network: plans, records, results, times."""

import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.parse.blocks import block_rows, parse_blocks, receiving_nodes
from testbed.errors import PlanError, RunInvalid
from testbed.workloads.bulk import merge_results
from testbed.workloads.bulk_flow import BLOCK_HEAD, BLOCK_RECORD, Flow, read_flows
from testbed.workloads.bulk_loop import Loop

PLAIN = {"id": 0, "client": "c", "server": "s", "address": "10.0.0.1", "port": 5000}
U32, NS = st.integers(0, 2**32 - 1), st.integers(0, 2**62)


def entry(**options):
    return {**PLAIN, "direction": "down", "transport": "tcp", "duration_s": 1.0, **options}


def flow(**options):
    return Flow(**entry(**options))


def test_a_plan_becomes_flows_and_null_means_the_default():
    (found,) = read_flows({"flows": [entry(size_bytes=None, start_s=None, rate_bps=8)]})

    assert found == flow(rate_bps=8)
    assert (found.start_s, found.size_bytes) == (0.0, None)


def test_the_transport_of_the_plan_holds_for_flows_without_one():
    wanted = {key: value for key, value in entry().items() if key != "transport"}
    (found,) = read_flows({"transport": "mptcp", "flows": [wanted]})

    assert found.transport == "mptcp"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"colour": 1}, "flow 0 has the unknown key colour"),
        ({"direction": "left"}, "flow 0 has the direction left, neither down nor up"),
        ({"transport": "udp"}, "flow 0 has the transport udp, neither mptcp nor tcp"),
        ({"size_bytes": 0}, "flow 0 has size_bytes 0; it must be above 0"),
        ({"start_s": -1.5}, "flow 0 starts 1.5 s before the run"),
        ({"id": 2**32}, "flow 4294967296 has an id that is no unsigned 32-bit number"),
    ],
)
def test_a_flow_that_means_nothing_is_refused(options, said):
    with pytest.raises(PlanError, match=f"^{said}$"):
        read_flows({"flows": [entry(**options)]})


def test_a_block_must_hold_its_time_stamp():
    with pytest.raises(PlanError, match="flow 0 has blocks of 8 bytes, too small for a time stamp"):
        read_flows({"record_blocks": True, "flows": [entry(block_bytes=8)]})
    read_flows({"flows": [entry(block_bytes=8)]})


def test_two_flows_are_not_one():
    with pytest.raises(PlanError, match="flow 0 is there twice"):
        read_flows({"flows": [entry(), entry(port=5001)]})


@pytest.mark.parametrize(
    "options", [{"direction": "up"}, {"transport": "mptcp"}, {"receive_buffer_bytes": 9}]
)
def test_flows_that_share_a_port_share_its_listener(options):
    (name,) = options
    with pytest.raises(PlanError, match=f"share port 5000 of s and differ in {name}"):
        read_flows({"flows": [entry(), entry(id=1, **options)]})
    read_flows({"flows": [entry(), entry(id=1, port=5001, **options)]})


def test_blocks_of_a_rate_are_due_without_drift():
    source = flow(rate_bps=3_000_000, block_bytes=8192)

    assert source.due_ns(0) == 0
    assert source.due_ns(1) == 21_845_333
    assert source.due_ns(3_000_000) == 8192 * 8 * 10**9
    assert flow().due_ns(5) == 0


# Records


@given(U32, U32, NS, st.integers(0, 2**61))
def test_a_block_is_read_as_it_was_written(number, size, sent_ns, took_ns):
    head = BLOCK_HEAD.unpack(BLOCK_HEAD.pack(sent_ns, number, size))
    record = BLOCK_RECORD.pack(number, size, sent_ns, sent_ns + took_ns)

    assert head == (sent_ns, number, size)
    assert parse_blocks(record).tolist() == [(number, size, sent_ns, sent_ns + took_ns)]


@given(st.lists(st.tuples(U32, U32, NS), max_size=20), st.data())
def test_a_file_that_is_cut_off_keeps_what_is_whole(blocks, data):
    content = b"".join(BLOCK_RECORD.pack(*block, block[2]) for block in blocks)
    cut = data.draw(st.integers(0, len(content)))
    whole = cut // BLOCK_RECORD.size

    assert parse_blocks(content[:cut])["sent_ns"].tolist() == [b[2] for b in blocks[:whole]]


@given(st.binary(max_size=200))
def test_any_bytes_are_blocks_or_invalid(content):
    try:
        blocks = parse_blocks(content)
    except RunInvalid:
        return
    assert (blocks["received_ns"] >= blocks["sent_ns"]).all()


def test_a_block_that_arrives_before_it_is_sent_is_refused():
    content = BLOCK_RECORD.pack(0, 1, 5, 5) + BLOCK_RECORD.pack(0, 1, 5, 4)

    with pytest.raises(RunInvalid, match="block 1 was received before it was sent"):
        parse_blocks(content)


def test_blocks_become_rows():
    start_ns = 1_700_000_000 * 10**9
    records = [(3, 8192, 10**9, 10**9 + 16_805_376), (1, 100, 2 * 10**9, 3 * 10**9)]
    content = b"".join(
        BLOCK_RECORD.pack(f, size, start_ns + sent, start_ns + received)
        for f, size, sent, received in records
    )
    nodes = receiving_nodes({"flows": [entry(id=3), entry(id=1, direction="up"), entry(id=2)]})
    rows = block_rows(parse_blocks(content), "rep01", start_ns, nodes)

    assert list(rows) == ["run_id", "t_s", "host", "path", "subflow", "flow", "latency_ms", "bytes"]
    assert rows["host"].tolist() == ["c", "s"]
    assert rows["t_s"].tolist() == [1.016805376, 3.0]
    assert rows["latency_ms"].tolist() == [16.805376, 1000.0]
    assert rows[["run_id", "path", "subflow"]].drop_duplicates().values.tolist() == [
        ["rep01", "", -1]
    ]


def test_no_blocks_are_a_table_too():
    rows = block_rows(parse_blocks(b""), "r", 0, {})

    assert len(rows) == 0
    assert rows["latency_ms"].dtype == np.float64


def test_blocks_of_an_unknown_flow_are_refused():
    with pytest.raises(RunInvalid, match="of flow 7, which is not in the plan"):
        block_rows(parse_blocks(BLOCK_RECORD.pack(7, 1, 0, 0)), "r", 0, {1: "c"})


# Results

START_NS = 5 * 10**9


def side(report, **options):
    return {"start_ns": START_NS, "wakeups": 3, "flows": {"0": report}, **options}


RECEIVED = {
    "started_ns": START_NS + 10**9,
    "opened_ns": START_NS + 1_020_000_000,
    "bytes": 1_000_000,
    "first_ns": START_NS + 1_030_000_000,
    "last_ns": START_NS + 2 * 10**9,
    "is_mptcp": True,
    "subflows": 2,
}
SENT = {"opened_ns": START_NS + 10**9, "sent_bytes": 1_000_000, "is_mptcp": True, "subflows": 1}


def merged(sent, received, **options):
    result = merge_results([flow(**options)], side(sent), side(received))
    return result["exit_status"], result["flows"][0]


def test_what_both_sides_say_becomes_one_result():
    status, row = merged(SENT, RECEIVED, transport="mptcp")

    assert status == 0
    assert (row["bytes"], row["goodput_mbps"], row["subflows"]) == (1_000_000, 8.0, 2)
    assert (row["started_s"], row["first_s"], row["last_s"]) == (1.0, 1.03, 2.0)
    assert (row["has_fallen_back"], row["has_ended"], row["error"]) == (False, True, None)


@pytest.mark.parametrize("blind", ["sent", "received"])
def test_a_connection_that_is_tcp_at_either_end_has_fallen_back(blind):
    sent, received = dict(SENT), dict(RECEIVED)
    {"sent": sent, "received": received}[blind]["is_mptcp"] = False

    assert merged(sent, received, transport="mptcp")[1]["has_fallen_back"]
    assert not merged(sent, received, transport="tcp")[1]["has_fallen_back"]


def test_a_flow_that_never_came_has_an_error_and_no_goodput():
    refused = {"started_ns": START_NS, "error": "cannot connect to 10.0.0.1:5000: refused"}
    status, row = merged({}, refused, transport="mptcp")

    assert status == 1
    assert (row["bytes"], row["goodput_mbps"], row["has_fallen_back"]) == (0, None, False)
    assert row["error"] == "cannot connect to 10.0.0.1:5000: refused"


def test_a_size_that_has_not_arrived_has_not_ended():
    half = {**RECEIVED, "is_unfinished": True}

    assert merged(SENT, half, size_bytes=2_000_000)[0] is None
    assert merged(SENT, half)[0] == 0, "the time of a flow is up when the run's is"
    assert merged({}, {"is_unfinished": True})[0] is None


# Times


def test_the_loop_calls_at_its_times_in_order_and_wakes_for_descriptors():
    loop, called = Loop(), []
    readable, writable = os.pipe()
    start_ns = time.monotonic_ns()

    def read():
        called.append(os.read(readable, 9))
        loop.unwatch(readable)

    loop.watch(readable, 1, read)
    loop.at(start_ns + 20_000_000, lambda: os.write(writable, b"x"))
    loop.at(start_ns + 10_000_000, lambda: called.append(time.monotonic_ns() - start_ns))
    loop.at(start_ns - 1, lambda: called.append("past"))
    loop.run(lambda: len(called) < 3)
    os.close(readable)
    os.close(writable)

    past, took_ns, content = called
    assert (past, content, loop.wakeups) == ("past", b"x", 1)
    assert took_ns >= 10_000_000
