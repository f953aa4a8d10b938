# SPDX-License-Identifier: Apache-2.0
"""iperf3, or iperf 2 in its stead, in the lab: it ends, in virtual time, with a report."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from analysis.parse.iperf import PARSERS

GUEST = Path(__file__).with_name("bulk_guest.py")
SEGMENT_SHARE = 1448 / 1500

# Far above what it takes, far below what polling the clock takes.
WALL_S = 20


@pytest.fixture
def iperf(lab_exec, tmp_path):
    """Run iperf in the lab; return its result and the report of the end that received."""
    if not shutil.which("iperf"):
        pytest.skip("this machine has no iperf; install with 'apt-get install iperf'")

    def run(wanted, *arguments):
        started_s = time.monotonic()
        done = lab_exec(
            sys.executable,
            "-P",
            GUEST,
            "iperf",
            json.dumps([wanted, *arguments]),
            options=("--share", tmp_path),
        )
        assert done.returncode == 0, done.stderr.decode()
        assert time.monotonic() - started_s < WALL_S
        result = json.loads(done.stdout)
        report = (tmp_path / result["reports"][result["receiver"]]).read_text()
        return result, PARSERS[result["program"]](report)

    return run


def test_a_download_fills_the_link_for_its_time(iperf):
    result, report = iperf({"duration_s": 3.0})

    assert (result["exit_status"], result["error"]) == (0, None)
    assert result["tool"].startswith("iperf")
    assert 3.0 <= result["ended_s"] < 5.0
    assert report.goodput_mbps == pytest.approx(8 * SEGMENT_SHARE, rel=0.03)


def test_a_size_is_sent_whole_and_mptcp_uses_both_paths(iperf):
    result, report = iperf(
        {"size_bytes": 4_000_000, "direction": "up", "streams": 2, "transport": "mptcp"}
    )

    assert result["receiver"] == "server"
    assert [stream.bytes for stream in report.streams] == [2_000_000, 2_000_000]
    for link in ("client-0", "client-1"):
        assert result["links"][link]["a_to_b"]["delivered_bytes"] > 200_000


def test_tcp_uses_the_path_of_its_source_address_alone(iperf):
    result, _ = iperf({"size_bytes": 200_000, "source_address": "10.0.1.2"})

    assert result["links"]["client-1"]["b_to_a"]["delivered_bytes"] > 200_000
    assert result["links"]["client-0"]["b_to_a"]["delivered_bytes"] < 2000


def test_a_refused_connection_is_an_error(iperf):
    result, report = iperf({"duration_s": 1.0, "address": "10.1.0.1"})

    assert result["exit_status"] == 1
    assert result["error"].lower().rstrip('"').endswith("connection refused")
    assert report.bytes == 0


def test_a_run_that_ends_first_leaves_a_report_of_what_arrived(iperf):
    result, report = iperf({}, 3.0)

    assert (result["exit_status"], result["error"]) == (0, None)
    assert report.bytes == pytest.approx(3.0 * 1e6 * SEGMENT_SHARE, rel=0.1)
