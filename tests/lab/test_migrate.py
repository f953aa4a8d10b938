# SPDX-License-Identifier: Apache-2.0
"""A machine moves: what is promised of each variant holds in the lab."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.lab.conftest import TESTBED

SMALL = (
    *("--memory", "16MiB", "--set", "workload.at=2 s", "--set", "workload.tail=3 s"),
    *("--set", "duration=20 s"),
)
RTT_S = 0.001


@pytest.fixture(scope="module")
def migrate(kernel, tmp_path_factory):
    """Run `testbed migrate` on a small machine and return runs by mode, and the process."""

    def run(*options):
        out = tmp_path_factory.mktemp("results")
        done = subprocess.run(
            [TESTBED, "migrate", "--out", out, "--json", *SMALL, *options],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        runs = json.loads(done.stdout)["runs"] if done.stdout else []
        return {one["mode"]: one for one in runs}, done

    return run


@pytest.fixture(scope="module")
def runs(migrate):
    found, done = migrate()
    assert done.returncode == 0, (done.stderr, found)
    return found


def table(run, name):
    return pd.read_parquet(Path(run["run_dir"]) / "derived" / f"{name}.parquet")


def test_every_byte_arrives_once_in_every_variant_but_one(runs):
    assert {mode: run["sha256_ok"] for mode, run in runs.items()} == {
        "mptcp-make-before-break": True,
        "mptcp-break-before-make": True,
        "tcp-renumbered": False,
        "tcp-l2-tunnel": True,
        "tcp-proxy": True,
    }


def test_gaps(runs):
    for mode, more_s in (("mptcp-make-before-break", 0.1),
                         ("mptcp-break-before-make", 2 * RTT_S + 0.3),
                         ("tcp-l2-tunnel", 0.1)):  # fmt: skip
        run = runs[mode]
        for gap in ("gap_s", "upload_gap_s"):
            assert run[gap] <= run["stop_and_copy_s"] + more_s, (mode, gap)
    assert runs["tcp-renumbered"]["gap_s"] is None
    assert runs["tcp-renumbered"]["fates"]["download"].startswith("silent since")


def test_the_machine_stands_still_as_a_whole(runs):
    """Between stop and resumption none of its processes read anything."""
    for run in runs.values():
        assert run["freezer"] == "cgroup freezer"
        upload = table(run, "transfers").query("flow == 'upload' and bytes > 0")
        stopped_s, resumed_s = run["phases"]["stopped_s"], run["phases"]["resumed_s"]
        assert not upload["t_s"].between(stopped_s + 0.1, resumed_s - 0.1).any()


def test_rounds_are_real_and_near_the_model(runs):
    for run in runs.values():
        rounds = table(run, "precopy_rounds")
        assert run["precopy_rounds"] == run["model_rounds"] == len(rounds)
        assert run["migration_s"] == pytest.approx(run["model_migration_s"], rel=0.05)
        links = table(run, "links")
        wan = links.query("path == 'wan'").iloc[0] if "path" in links else None
        assert wan is None or wan["delivered_bytes"] > rounds["bytes"].sum()


def test_round_trips_fall_when_nothing_goes_by_the_old_place(runs):
    for mode in ("mptcp-make-before-break", "mptcp-break-before-make"):
        assert runs[mode]["rtt_after_ms"] < runs[mode]["rtt_before_ms"] - 10
    assert runs["tcp-l2-tunnel"]["rtt_after_ms"] > runs["tcp-l2-tunnel"]["rtt_before_ms"] + 10


def test_the_tunnel_is_gone_once_the_new_subflow_carries(runs):
    phases = runs["mptcp-make-before-break"]["phases"]
    assert phases["resumed_s"] < phases["tunnel_removed_s"] < phases["resumed_s"] + 0.5


def test_what_does_not_converge_ends_as_configured(migrate):
    options = ("--dirty-rate", "80Mbit/s", "--max-rounds", "3", "--variant",
               "mptcp-make-before-break")  # fmt: skip
    stopped, done = migrate(*options)
    assert done.returncode == 0, stopped
    run = stopped["mptcp-make-before-break"]
    assert (run["outcome"], run["precopy_rounds"]) == ("moved", 3)
    assert run["stop_and_copy_s"] == pytest.approx(16 * 2**20 / 8e6, rel=0.05)
    assert run["gap_s"] <= run["stop_and_copy_s"] + 0.1

    aborted, done = migrate(*options, "--set", "workload.on_limit=abort")
    run = aborted["mptcp-make-before-break"]
    assert (run["outcome"], run["verdict"], run["sha256_ok"]) == ("failed", "valid", True)


def test_a_wide_area_link_that_fails_leaves_the_machine_where_it_is(migrate):
    """Its connections go by that link too: they wait, and go on."""
    down = (
        "events=[{at: 3 s, change: link_down, link: wan}, {at: 30 s, change: link_up, link: wan}]"
    )
    found, done = migrate(
        "--variant", "mptcp-make-before-break", "--set", down, "--set", "duration=60 s"
    )
    run = found["mptcp-make-before-break"]
    assert done.returncode == 1
    assert run["verdict"] == "invalid"
    assert run["verdict_reasons"][0].startswith(
        "the machine did not move: the memory could not be sent: "
    )
    assert run["sha256_ok"]


def test_the_kernels_own_path_manager_can_move_connections_too(migrate):
    found, done = migrate(
        "--variant", "mptcp-make-before-break,mptcp-break-before-make",
        "--set", "mptcp.path_manager=kernel",
    )  # fmt: skip
    assert done.returncode == 0, found
    for run in found.values():
        assert run["sha256_ok"]
        assert run["gap_s"] <= run["stop_and_copy_s"] + 0.3
