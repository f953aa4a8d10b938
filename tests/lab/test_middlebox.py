# SPDX-License-Identifier: Apache-2.0
"""A connection is led through middleboxes and past them, and the application notices little."""

import json
import subprocess

import pytest

from tests.lab.conftest import TESTBED


@pytest.fixture(scope="module")
def runs(kernel, tmp_path_factory):
    """All scenes, the old subflow becoming a backup; by scene."""
    done = subprocess.run(
        [TESTBED, "middlebox", "--old", "backup", "--json", "--out",
         tmp_path_factory.mktemp("results")],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, (done.stderr, done.stdout)
    return {run["scene"]: run for run in json.loads(done.stdout)["runs"]}


def test_what_the_middlebox_sees(runs):
    shares = {
        scene: (run["fraction_via_middlebox_before"], run["fraction_via_middlebox_after"])
        for scene, run in runs.items()
    }
    assert shares["insert"][0] == shares["chain"][0] == shares["bypass"][1] == 0
    assert min(shares["insert"][1], shares["chain"][1], shares["bypass"][0]) >= 0.99


def test_a_chain_is_seen_by_both(runs):
    first, second = (runs["chain"]["middlebox_bytes"][name] for name in ("m1", "m2"))
    assert first == pytest.approx(second, rel=0.01)
    assert list(runs["insert"]["middlebox_bytes"]) == ["m1"]


def test_every_byte_arrives_once(runs):
    assert all(run["sha256_ok"] for run in runs.values())


def test_the_change_makes_no_longer_gap_than_losses_do(runs):
    for run in runs.values():
        assert run["gap_s"] <= max(run["usual_gap_s"], 2 * run["rtt_after_ms"] / 1e3)


def test_a_middlebox_that_is_not_there_is_said_and_the_connection_goes_on(kernel, tmp_path):
    done = subprocess.run(
        [TESTBED, "middlebox", "--scene", "insert", "--old", "backup", "--json", "--out", tmp_path,
         "--set", "events=[{at: 3 s, change: link_down, link: m1}]"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
    )  # fmt: skip
    (run,) = json.loads(done.stdout)["runs"]
    assert done.returncode == 1
    assert run["verdict_reasons"] == ["the new subflow was not established, or carried nothing"]
    assert (run["sha256_ok"], run["fates"]) == (True, {"download": "complete"})
