# SPDX-License-Identifier: Apache-2.0
"""A connection is led through middleboxes and past them, and the application notices little."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.parse.pcap import read_packets
from tests.lab.conftest import TESTBED

ROUTING_HEADER = 43
RTT_S = {"insert": 0.050, "bypass": 0.050, "chain": 0.070, "srv6": 0.050}


SHORT = ("--set", "workload.at=3 s", "--set", "workload.end=8 s")


def carry_out(folder, *options):
    """Run `testbed middlebox` and return the runs by scene."""
    done = subprocess.run(
        [TESTBED, "middlebox", "--json", "--out", folder, *SHORT, *options],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )
    assert done.returncode == 0, (done.stderr, done.stdout)
    return {run["scene"]: run for run in json.loads(done.stdout)["runs"]}


@pytest.fixture(scope="module")
def runs(kernel, tmp_path_factory):
    """All scenes, the old subflow becoming a backup."""
    options = ("--old", "backup", "--middlebox", "inspector")
    return carry_out(tmp_path_factory.mktemp("results"), *options)


@pytest.fixture(scope="module")
def closed(kernel, tmp_path_factory):
    """All scenes, the old subflow being closed."""
    return carry_out(tmp_path_factory.mktemp("results"), "--old", "close")


@pytest.fixture(scope="module")
def proxied(kernel, tmp_path_factory):
    """The scenes that a transparent proxy can be in."""
    options = ("--old", "backup", "--middlebox", "proxy")
    return carry_out(tmp_path_factory.mktemp("results"), *options)


def test_what_the_middlebox_sees(runs, closed):
    for found in (runs, closed):
        shares = {
            scene: (run["fraction_via_middlebox_before"], run["fraction_via_middlebox_after"])
            for scene, run in found.items()
        }
        starts = [shares[scene][0] for scene in ("insert", "chain", "srv6")]
        assert starts == [0, 0, 0]
        assert shares["bypass"][1] == 0
        ends = [shares[scene][1] for scene in ("insert", "chain", "srv6")]
        assert min(*ends, shares["bypass"][0]) >= 0.99


def test_segments_lead_past_the_middlebox_and_the_hosts_know_nothing_of_it(runs):
    run = runs["srv6"]
    assert run["segments"] == ["5f00:0:2::1", "5f00:0:3::1"]
    assert [scene for scene, one in runs.items() if one["segments"]] == ["srv6"]
    at_client = read_packets(Path(run["run_dir"], "raw", "client.access.pcap").read_bytes())
    assert ROUTING_HEADER not in at_client.packets["protocol"]
    # All that the client got over the new subflow left the middlebox, and hardly more.
    sent, got = run["middlebox_payload_bytes"]["m1"], over_new_subflow(run)
    assert got <= sent <= 1.01 * got


def over_new_subflow(run):
    data = pd.read_parquet(Path(run["run_dir"], "derived", "packets.parquet"))
    rows = data[(data["remote_address"] == "10.0.3.3") & (data["direction"] == "rx")]
    return int(rows["payload_bytes"].sum())


def test_an_inspectors_log_is_what_the_capture_at_its_interface_says(runs):
    for scene, run in runs.items():
        assert run["inspector_error"] < 1e-3, scene
        assert all(size > 1e6 for size in run["middlebox_payload_bytes"].values()), scene


def test_a_proxy_cannot_take_over_a_subflow_nor_give_one_away(proxied):
    """Connections end at the proxy; the refused subflow costs nothing."""
    assert {run["new_subflow"] for run in proxied.values()} == {"refused"}
    assert all(run["sha256_ok"] and run["gap_s"] < 0.1 for run in proxied.values())
    passed = {scene: run["middlebox_payload_bytes"]["m1"] for scene, run in proxied.items()}
    assert passed["insert"] == 0
    assert passed["bypass"] > 10e6
    # MPTCP towards the client, from the server's address.
    subflows = pd.read_parquet(Path(proxied["bypass"]["run_dir"], "derived", "subflows.parquet"))
    first = subflows.sort_values("syn_s").iloc[0]
    assert (first["remote"], first["is_mptcp"]) == ("10.0.3.3:7001", True)


def test_a_chain_is_seen_by_both(runs):
    first, second = (runs["chain"]["middlebox_bytes"][name] for name in ("m1", "m2"))
    assert first == pytest.approx(second, rel=0.01)
    assert list(runs["insert"]["middlebox_bytes"]) == ["m1"]


def test_every_byte_arrives_once(runs, closed):
    assert all(run["sha256_ok"] for run in [*runs.values(), *closed.values()])


def test_no_change_is_noticed_for_more_than_two_round_trips(runs, closed):
    """Those of the longer of both ways, without a queue."""
    for found in (runs, closed):
        for scene, run in found.items():
            assert run["gap_s"] <= 2 * RTT_S[scene], (scene, run["gap_s"])


def test_a_middlebox_that_is_not_there_is_said_and_the_connection_goes_on(kernel, tmp_path):
    done = subprocess.run(
        [TESTBED, "middlebox", "--scene", "insert", "--old", "backup", "--json", "--out", tmp_path,
         "--set", "events=[{at: 5.001 s, change: link_down, link: m1}]"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )  # fmt: skip
    (run,) = json.loads(done.stdout)["runs"]
    assert done.returncode == 1
    assert run["new_subflow"] == "unanswered"
    assert run["verdict_reasons"] == [
        "the new subflow was not established (unanswered); "
        "over the old one the download is complete"
    ]
    assert (run["sha256_ok"], run["fates"]) == (True, {"download": "complete"})
