# SPDX-License-Identifier: Apache-2.0
"""The coupled congestion controls in the lab kernel, in the scenes of `testbed fairness`."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.lab.conftest import TESTBED

COUPLED = ("lia", "olia", "balia")


@pytest.fixture(scope="module")
def fairness(kernel, tmp_path_factory):
    """Run `testbed fairness` and return the runs of each congestion control; all are valid."""

    def run(*arguments):
        out = tmp_path_factory.mktemp("results")
        done = subprocess.run(
            [TESTBED, "fairness", "--json", "--out", out, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=500,
        )
        assert done.returncode == 0, (done.stderr, done.stdout)
        found = {}
        for one in json.loads(done.stdout)["runs"]:
            assert one["verdict"] == "valid", one["verdict_reasons"]
            found.setdefault(one["cc"], []).append(one)
        return found

    return run


@pytest.fixture(scope="module")
def at_a_bottleneck(fairness):
    controls = ",".join(("reno", *COUPLED))
    found = fairness("--scene", "bottleneck", "--cc", controls, "--seeds", "1")
    return {cc: run["mptcp_share"] for cc, (run,) in found.items()}


@pytest.mark.parametrize("name", COUPLED)
def test_two_coupled_subflows_take_about_half_of_a_shared_link(at_a_bottleneck, name):
    """Uncoupled ones take two thirds; one run of a minute leaves six points to chance."""
    assert 0.40 < at_a_bottleneck[name] < 0.60


def test_two_uncoupled_subflows_take_two_thirds_of_a_shared_link(at_a_bottleneck):
    assert 0.60 < at_a_bottleneck["reno"] < 0.72


def test_on_a_tcp_connection_a_coupled_control_is_reno(fairness):
    """To the byte: same windows, same losses, same amount, also of what shares the links."""

    def flows(rival):
        arguments = ("--scene", "loss-rtt", "--cc", "reno", "--rival", rival, "--seeds", "1")
        (run,) = fairness(*arguments, "--warm-up", "2s", "--measured", "20s")["reno"]
        assert run["rival"] == rival
        found = json.loads((Path(run["run_dir"]) / "raw" / "bulk.json").read_text())["flows"]
        return [flow["bytes_at_marks"] for flow in found]

    reno = flows("reno")
    assert [flows(name) for name in COUPLED] == [reno] * len(COUPLED)


def test_olia_leaves_a_congested_path_that_lia_uses(fairness):
    """The second path is shared with TCP connections; the first is the host's own."""
    found = fairness("--scene", "two-bottlenecks", "--cc", "reno,lia,olia", "--seeds", "1")
    on_it = {cc: run["congested_path_mbps"] for cc, (run,) in found.items()}

    assert on_it["olia"] < 0.7 * on_it["lia"]
    assert on_it["lia"] < on_it["reno"]
