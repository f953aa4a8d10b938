# SPDX-License-Identifier: Apache-2.0
"""Where congestion control comes to rest: laws, prices, rates."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from testbed.fluid.control import lia_rates, reno_rates
from testbed.fluid.equilibrium import equilibrium
from testbed.fluid.pooled_control import pooled_equilibrium
from tests.unit.fluid_networks import connections

FINE = 1e-6


def rates_of(control, crossing, capacity, flow):
    crossing, capacity, flow = sp.csr_array(np.array(crossing, float)), np.array(capacity), flow
    if control == "olia":
        return pooled_equilibrium(crossing, capacity, np.array(flow), FINE).rate
    return equilibrium(crossing, capacity, np.array(flow), control, FINE).rate


@pytest.mark.parametrize(("control", "share"), [("reno", 2 / 3), ("lia", 1 / 2), ("olia", 1 / 2)])
def test_two_subflows_against_one_on_one_bottleneck(control, share):
    """Uncoupled, two subflows are two connections; linked, they are one."""
    rates = rates_of(control, [[1, 1, 1]], [1.0], [0, 0, 1])
    assert rates[:2].sum() == pytest.approx(share, abs=1e-3)


def test_lia_takes_what_the_best_path_gives_alone():
    """4 % loss at 10 ms and 1 % at 100 ms: 707 packets per second, as TCP has on the first path."""
    price, rtt, flow = np.array([0.04, 0.01]), np.array([0.01, 0.1]), np.array([0, 0])
    assert reno_rates(price, rtt, flow) == pytest.approx([707.1, 141.4], abs=0.1)
    rates = lia_rates(price, rtt, flow)
    assert rates.sum() == pytest.approx(707.1, abs=0.1)
    windows = rates * rtt
    assert windows[1] / windows[0] == pytest.approx(4)  # inverse to the losses


def test_olia_leaves_the_congested_link_and_lia_does_not():
    """Two links; a second connection is on the first one only. Pooled, both could have 1."""
    crossing, capacity, flow = [[1, 0, 1], [0, 1, 0]], [1.0, 1.0], [0, 0, 1]
    olia, lia = (rates_of(control, crossing, capacity, flow) for control in ("olia", "lia"))
    assert olia == pytest.approx([0, 1, 1], abs=1e-2)
    assert lia[0] > 0.1
    assert lia[1] == pytest.approx(1, abs=1e-3)


def test_reno_on_a_line_of_two_links():
    """By hand: x = sqrt(2/p) and the long flow pays both prices, so 1/x0^2 = 2/(1-x0)^2."""
    rates = rates_of("reno", [[1, 1, 0], [1, 0, 1]], [1.0, 1.0], [0, 1, 2])
    long = 1 / (1 + np.sqrt(2))
    assert rates == pytest.approx([long, 1 - long, 1 - long], abs=1e-4)


@settings(deadline=None)
@given(connections())
def test_all_controls_fit_the_links_and_leave_no_flow_room(network):
    crossing, capacity, flow = network
    results = [equilibrium(crossing, capacity, flow, control) for control in ("reno", "lia")]
    results.append(pooled_equilibrium(crossing, capacity, flow))
    for result in results:
        load = crossing @ result.rate
        assert np.all(load <= capacity * (1 + 1e-9))
        assert np.all(np.bincount(flow, result.rate) > 0)


@settings(deadline=None)
@given(connections())
def test_every_reno_subflow_meets_a_full_link(network):
    crossing, capacity, flow = network
    result = equilibrium(crossing, capacity, flow, "reno", 1e-4)
    is_full = (crossing @ result.rate >= capacity * 0.99).astype(float)
    assert np.all(crossing.T @ is_full > 0)


@settings(deadline=None)
@given(connections())
def test_one_subflow_per_connection_makes_all_controls_alike(network):
    crossing, capacity, _ = network
    flow = np.arange(crossing.shape[1])
    reno = equilibrium(crossing, capacity, flow, "reno", 1e-4).rate
    assert equilibrium(crossing, capacity, flow, "lia", 1e-4).rate == pytest.approx(reno, rel=2e-2)
    cost = (2 / pooled_equilibrium(crossing, capacity, flow, 1e-5).rate).sum()
    assert cost == pytest.approx((2 / reno).sum(), rel=1e-3)


def test_equal_flows_get_equal_rates():
    crossing, capacity, flow = [[1, 0, 1, 0], [0, 1, 0, 1]], [1.0, 1.0], [0, 0, 1, 1]
    for control in ("reno", "lia"):
        assert rates_of(control, crossing, capacity, flow) == pytest.approx([0.5] * 4, abs=1e-3)
    totals = np.bincount(flow, rates_of("olia", crossing, capacity, flow))
    assert totals == pytest.approx([1, 1], abs=1e-3)
