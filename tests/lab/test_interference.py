# SPDX-License-Identifier: Apache-2.0
"""What an interfering middlebox does to MPTCP: one cell of each outcome, the same every time."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.lab.conftest import TESTBED

CELLS = {
    "control": "survives",
    "coalesce": "connection lost",
    "strip-capable-syn": "falls back to TCP",
    "payload-checksum-one-of-two": "subflow reset",
}
COMPARED = ("outcome", "outcome_s", "counters", "sha256_ok", "received_bytes", "evidence")


def run_cells(folder):
    done = subprocess.run(
        [TESTBED, "middlebox", "--scene", "interference", "--behaviour", ",".join(CELLS), "--json",
         "--seed", "7", "--out", folder],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, (done.stderr, done.stdout)
    return {run["behaviour"]: run for run in json.loads(done.stdout)["runs"]}


@pytest.fixture(scope="module")
def runs(kernel, tmp_path_factory):
    """The cells, twice."""
    return [run_cells(tmp_path_factory.mktemp("results")) for _ in range(2)]


def test_outcomes(runs):
    assert {name: run["outcome"] for name, run in runs[0].items()} == CELLS


def test_every_outcome_is_explained_and_has_its_counter(runs):
    for run in runs[0].values():
        assert run["explanation"], run["behaviour"]
    counters = {name: run["counters"] for name, run in runs[0].items()}
    assert counters["strip-capable-syn"]["client"]["MPCapableFallbackSYNACK"] == 1
    assert counters["payload-checksum-one-of-two"]["client"]["DataCsumErr"] == 1
    assert counters["payload-checksum-one-of-two"]["server"]["MPRstRx"] == 1
    assert counters["coalesce"]["client"]["DSSCorruptionFallback"] == 1
    assert counters["control"]["server"]["MPJoinAckRx"] == 1


def test_what_arrived(runs):
    is_right = {name: run["sha256_ok"] for name, run in runs[0].items()}
    assert is_right == {name: name != "coalesce" for name in CELLS}
    lost = runs[0]["coalesce"]
    assert lost["received_bytes"] > lost["sent_bytes"]
    assert lost["repeated_bytes"] > lost["sent_bytes"]
    assert runs[0]["control"]["repeated_bytes"] == 0


def test_tshark_finds_the_checksums_of_what_the_middlebox_made_right(runs):
    file = Path(runs[0]["coalesce"]["run_dir"]) / "raw" / "client.middlebox.pcap"
    told = subprocess.run(
        ["tshark", "-r", file, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
         "-Y", "tcp.srcport == 7001", "-T", "fields", "-e", "ip.checksum.status",
         "-e", "tcp.checksum.status"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout.splitlines()  # fmt: skip
    assert len(told) > 100
    assert set(told) == {"1\t1"}


def test_a_seed_gives_the_same_cells(runs):
    first, second = (
        {name: {key: run[key] for key in COMPARED} for name, run in made.items()} for made in runs
    )
    assert first == second
