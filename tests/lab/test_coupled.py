# SPDX-License-Identifier: Apache-2.0
"""The coupled congestion controls in the lab kernel, over the networks of their benchmark."""

import statistics

import pytest

from benchmarks.coupled import COUPLED, SECOND_PATH, Lab, mbps, share


@pytest.fixture
def lab(kernel):
    return Lab(str(kernel.path), seeds=3)


@pytest.mark.parametrize("name", COUPLED)
def test_two_coupled_subflows_take_about_half_of_a_shared_link(lab, name):
    """Uncoupled ones take two thirds; three runs of a minute leave some points to chance."""
    assert 41 < statistics.mean(map(share, lab.runs("shared-40-1", name))) < 59


def test_two_uncoupled_subflows_take_two_thirds_of_a_shared_link(lab):
    assert 61 < statistics.mean(map(share, lab.runs("shared-40-1", "reno"))) < 71


@pytest.mark.parametrize("name", COUPLED)
def test_on_a_tcp_connection_a_coupled_control_is_reno(kernel, name):
    """To the byte: same windows, same retransmissions, same amount."""
    once = Lab(str(kernel.path), seeds=1)
    runs = [once.runs("alone-10-0.04", control)[0][0] for control in ("reno", name)]
    controls = [run.pop("congestion_control") for run in runs]

    assert controls == ["reno", name]
    assert runs[0] == runs[1]


def test_olia_leaves_a_congested_path_that_lia_uses(kernel):
    """The second path is shared with TCP connections; the first is the host's own."""
    once = Lab(str(kernel.path), seeds=1)
    on_it = {
        name: mbps(once.runs("private-10", name)[0], "multi", SECOND_PATH)
        for name in ("reno", *COUPLED)
    }

    assert on_it["olia"] < 0.7 * on_it["lia"]
    assert on_it["olia"] < on_it["balia"] < on_it["lia"] < on_it["reno"]
