# SPDX-License-Identifier: Apache-2.0
"""Each command of a path manager in userspace has its effect, seen at both ends and on the wire."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from analysis.load import load_run
from tests.lab.conftest import TESTBED

SPEC = Path(__file__).parents[2] / "experiments" / "path_manager_script.yaml"


@pytest.fixture(scope="module")
def run(kernel, tmp_path_factory):
    """The experiment that uses every command once, as `--json` reports it."""
    done = subprocess.run(
        [TESTBED, "run", SPEC, "--out", tmp_path_factory.mktemp("results"), "--json"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["runs"]
    return found


@pytest.fixture(scope="module")
def frames(run):
    return load_run(Path(run["run_dir"]))


def test_the_run_is_a_data_point(run):
    assert (run["verdict"], run["verdict_reasons"]) == ("valid", [])


def test_every_step_was_carried_out_at_its_time(frames):
    done = [(round(line["t_s"], 2), line["do"]) for line in frames.script_log if "do" in line]
    assert done == [
        (3.0, "add_subflow"),
        (6.0, "set_backup"),
        (9.0, "close"),
        (12.0, "add_subflow"),
        (15.0, "remove"),
        (18.0, "announce"),
    ]


def test_the_peer_heard_of_every_step(frames):
    """One RTT or less after the step: 20 ms over WiFi, 150 ms over 3G."""
    events = frames.mptcp_events
    proxy = events[(events["host"] == "proxy") & events["t_s"].between(2, 20)]
    assert list(zip(proxy["event"], proxy["t_s"].astype(int), strict=True)) == [
        ("subflow_established", 3),
        ("subflow_priority", 6),
        ("subflow_closed", 9),
        ("subflow_established", 12),
        ("removed", 15),
        ("subflow_closed", 15),
        ("announced", 18),
        # Its join finds no listener at the client: a connection grows where one listens only.
        ("subflow_closed", 18),
    ]


def megabytes(frames, path, first_s, last_s):
    data = frames.data
    is_in = (data["path"] == path) & data["t_s"].between(first_s, last_s)
    return data.loc[is_in, "new_bytes"].sum() / 1e6


def test_the_data_follow(frames):
    """WiFi alone, both, WiFi while 3G is a backup, 3G alone, and WiFi alone again."""
    assert megabytes(frames, "3g", 0, 3) == 0
    assert megabytes(frames, "3g", 4, 6) > 0.3
    assert megabytes(frames, "3g", 7, 9) == 0
    assert megabytes(frames, "wifi", 7, 9) > 1.8
    assert megabytes(frames, "wifi", 9.5, 12) == 0  # what the proxy had given to TCP is still sent
    assert megabytes(frames, "3g", 9.5, 12) > 0.2
    assert megabytes(frames, "3g", 15.5, 24) == 0
    assert megabytes(frames, "wifi", 16, 24) > 7


def test_the_options_are_on_the_wire(frames):
    sent = frames.events[frames.events["direction"] == "tx"]
    seen = {name: sent.loc[sent["subtype"] == name, "t_s"] for name in set(sent["subtype"])}
    assert pd.Series(seen["MP_PRIO"]).astype(int).tolist() == [6]
    assert set(seen["MP_JOIN"].astype(int)) == {3, 12}
    assert set(seen["REMOVE_ADDR"].astype(int)) == {15}
    assert set(seen["ADD_ADDR"].astype(int)) == {18}
