# SPDX-License-Identifier: Apache-2.0
"""Bulk flows in the lab: they start, carry, count and end as planned."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.parse.blocks import parse_blocks

NEAR_S = 20e-6
GUEST = Path(__file__).with_name("bulk_guest.py")

# A TCP segment: 1500 bytes with 20 of IP and 32 of TCP with time stamps.
HEADER_BYTES = 52
SEGMENT_BYTES = 1500 - HEADER_BYTES


@pytest.fixture
def bulk(lab_exec, tmp_path):
    """Run a function of bulk_guest.py in the lab and return what it returns."""

    def run(function, *arguments, memory="1G"):
        done = lab_exec(
            sys.executable,
            "-P",
            GUEST,
            function,
            json.dumps(arguments),
            options=("--share", tmp_path, "--memory", memory),
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def test_flows_start_at_their_times_in_both_directions(bulk):
    starts = [0.0, 0.25, 0.250_1, 1.0]
    found = bulk(
        "one_link",
        [
            {"start_s": start_s, "size_bytes": 10_000, "direction": direction}
            for start_s, direction in zip(starts, ("down", "up") * 2, strict=True)
        ],
    )

    assert [flow["started_s"] for flow in found["flows"]] == pytest.approx(starts, abs=NEAR_S)
    assert found["exit_status"] == 0


def test_what_is_counted_is_what_was_sent(bulk, tmp_path):
    sizes = [1, 8192, 1_000_000, 999_999]
    found = bulk(
        "one_link",
        [
            {"size_bytes": size, "direction": direction, "port": port}
            for size, direction, port in zip(
                sizes, ("down", "down", "up", "up"), (5000, 5000, 5001, 5001), strict=True
            )
        ],
    )

    assert [flow["bytes"] for flow in found["flows"]] == sizes
    assert [flow["sent_bytes"] for flow in found["flows"]] == sizes
    assert found["link"]["a_to_b"]["delivered_bytes"] > 1_999_999
    assert json.loads((tmp_path / "bulk.json").read_text())["flows"] == found["flows"]


def test_a_flow_ends_when_its_time_is_up(bulk):
    found = bulk("one_link", [{"start_s": 0.5, "duration_s": 1.0}])
    (flow,) = found["flows"]

    assert flow["stopped_s"] == pytest.approx(1.5, abs=NEAR_S)
    assert flow["bytes"] == flow["sent_bytes"]
    assert flow["last_s"] > 1.5, "what it had sent still arrives"
    assert found["exit_status"] == 0


def test_the_latency_of_a_block_on_an_idle_link_is_that_of_its_bits_and_the_delay(bulk, tmp_path):
    size, rate_bps, one_way_delay_s = 8192, 10_000_000, 0.010
    source = {"duration_s": 3.0, "rate_bps": 400_000, "block_bytes": size}
    found = bulk(
        "one_link",
        [source, {**source, "start_s": 0.08, "direction": "up"}],
        rate_bps,
        one_way_delay_s,
        10,
        {"record_blocks": True},
    )
    blocks = parse_blocks((tmp_path / "bulk.0.blocks.bin").read_bytes())

    segments = -(-size // SEGMENT_BYTES)
    expected_s = (size + segments * HEADER_BYTES) * 8 / rate_bps + one_way_delay_s
    for flow in (0, 1):
        own = blocks[blocks["flow"] == flow]
        # The first block waits for the acknowledgement of the greeting, 52 bytes; and where
        # data of both flows meet acknowledgements of the other they wait for those.
        latencies_s = (own["received_ns"] - own["sent_ns"])[1:] / 1e9
        assert latencies_s == pytest.approx(expected_s, abs=NEAR_S)
        assert len(own) * size == found["flows"][flow]["bytes"]
        periods_s = (own["sent_ns"][1:] - own["sent_ns"][:-1]) / 1e9
        assert periods_s == pytest.approx(size * 8 / 400_000, abs=1e-6)


def test_recorded_blocks_of_a_saturated_link_are_whole(bulk, tmp_path):
    flows = [{"size_bytes": 100_000, "block_bytes": size} for size in (1000, 8192, 16)]
    bulk("one_link", flows, 10_000_000, 0.01, 60, {"record_blocks": True})
    blocks = parse_blocks((tmp_path / "bulk.0.blocks.bin").read_bytes())

    for flow, wanted in enumerate(flows):
        own = blocks[blocks["flow"] == flow]
        assert set(own["bytes"].tolist()) == {wanted["block_bytes"]}
        assert len(own) == wanted["size_bytes"] // wanted["block_bytes"]
    assert (blocks["received_ns"] - blocks["sent_ns"] > 10_000_000).all()


def test_128_flows_share_a_bottleneck_and_fill_it(bulk):
    lasted_s = 4.0
    found = bulk("many", 128, {"port": 5000}, 1, lasted_s)
    sizes = [flow["bytes"] for flow in found["flows"]]

    most_bps = 100_000_000 * SEGMENT_BYTES / 1500
    assert 0.93 * most_bps < sum(sizes) * 8 / lasted_s < most_bps
    jain = sum(sizes) ** 2 / len(sizes) / sum(size**2 for size in sizes)
    assert jain > 0.7
    assert found["exit_status"] == 0


def test_mptcp_flows_use_both_paths(bulk):
    found = bulk(
        "two_paths",
        [{"size_bytes": 4_000_000}, {"size_bytes": 2_000_000, "direction": "up", "start_s": 1.0}],
    )

    assert [flow["subflows"] for flow in found["flows"]] == [2, 2]
    assert not any(flow["has_fallen_back"] for flow in found["flows"])
    for direction in ("a_to_b", "b_to_a"):
        for link in ("client-0", "client-1"):
            assert found["links"][link][direction]["delivered_bytes"] > 200_000


def test_a_flow_that_falls_back_to_tcp_says_so(bulk):
    found = bulk("without_mptcp", {"size_bytes": 10_000, "transport": "mptcp"})
    (flow,) = found["flows"]

    assert (flow["has_fallen_back"], flow["bytes"], flow["error"]) == (True, 10_000, None)


@pytest.mark.parametrize("transport", ["tcp", "mptcp"])
@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_refused_connection_is_reported_and_the_other_flows_go_on(bulk, transport, direction):
    wanted = {"size_bytes": 5000, "transport": transport, "direction": direction}
    found = bulk("one_link", [{**wanted, "address": "10.1.0.1"}, wanted])
    refused, other = found["flows"]

    assert refused["error"] == "cannot connect to 10.1.0.1:5000: connection refused"
    assert (other["error"], other["bytes"]) == (None, 5000)
    assert found["exit_status"] == 1


@pytest.mark.parametrize(
    ("options", "near"),
    [
        ({"transport": "tcp"}, 0.01),
        ({"transport": "mptcp"}, 0.02),
        ({"transport": "tcp", "receive_buffer_bytes": 200_000}, 0.07),
    ],
)
def test_a_receiver_that_sleeps_does_not_slow_its_flow_down(bulk, options, near):
    """Where the receive window is the limit, what waits unread costs a sixteenth of it at most."""
    flows = [{"size_bytes": 30_000_000, **options}]
    found = bulk("one_link", flows, 100_000_000, 0.02)
    eager = bulk("one_link", flows, 100_000_000, 0.02, 60, {"wake_bytes": 1})

    goodputs = [result["flows"][0]["goodput_mbps"] for result in (found, eager)]
    assert goodputs[0] == pytest.approx(goodputs[1], rel=near)
    assert eager["receiver_wakeups"] > 5 * found["receiver_wakeups"]


def test_blocks_larger_than_the_receive_window_do_not_stop_the_flow(bulk, tmp_path):
    flows = [{"size_bytes": 3_000_000, "block_bytes": 1_000_000, "receive_buffer_bytes": 50_000}]
    found = bulk("one_link", flows, 10_000_000, 0.01, 60, {"record_blocks": True})

    assert found["flows"][0]["goodput_mbps"] > 8
    assert len(parse_blocks((tmp_path / "bulk.0.blocks.bin").read_bytes())) == 3


def test_a_run_that_ends_before_the_flows_counts_what_has_arrived(bulk):
    found = bulk("one_link", [{"size_bytes": 10_000_000}, {"start_s": 0.1}], 10_000_000, 0.01, 1.0)
    sized, endless = found["flows"]

    assert (found["exit_status"], sized["has_ended"], endless["has_ended"]) == (None, False, True)
    assert 0 < sized["bytes"] < sized["sent_bytes"]
    assert sized["bytes"] + endless["bytes"] == pytest.approx(1.15e6, rel=0.1)


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_process_that_dies_ends_the_run_with_one_sentence(bulk, side):
    said = bulk("failing", [{"size_bytes": 10_000_000}], {"kill": side})

    assert said == f"the bulk {side} was ended by SIGKILL"


def test_what_the_kernel_lacks_is_one_sentence(bulk):
    said = bulk("failing", [{"size_bytes": 1, "congestion_control": "nothing"}])

    assert said == "the kernel has no congestion control nothing: no such file or directory"


def test_a_full_disk_is_one_sentence(kernel, tmp_path):
    """The folder of results is a disk of 16 KiB inside the lab, and the blocks do not fit."""
    script = 'mount -t tmpfs -o size=16k none /run/testbed && exec "$@"'
    wanted = [{"size_bytes": 1_000_000, "block_bytes": 100}]
    arguments = [wanted, {"record_blocks": True}]
    command = [sys.executable, "-P", GUEST, "failing", json.dumps(arguments)]
    done = subprocess.run(
        [Path(sys.executable).with_name("testbed"), "lab", "exec", "--share", tmp_path]
        + ["--", "sh", "-c", script, "sh", *command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )

    assert json.loads(done.stdout) == 'the bulk receiver exited 1: "no space left on device"'


def test_1024_flows_of_128_servers_need_one_process_per_side(bulk):
    found = bulk("many", 8, {"size_bytes": 20_000, "port": 5000}, 128)

    assert [flow["bytes"] for flow in found["flows"]] == [20_000] * 1024
    assert found["exit_status"] == 0
