# SPDX-License-Identifier: Apache-2.0
"""Max-min fair rates: of single paths, and of connections that spread."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.fluid.oracle import analytic_oracle, optimum_rates, pooled_port_rates, pooling_of
from testbed.fluid.pooling import Pooling, pooled_rates
from testbed.fluid.routes import cross_paths
from testbed.fluid.spare import wire_spare_ports
from testbed.fluid.topologies import build_fabric
from testbed.fluid.traffic import permutation
from testbed.fluid.water_filling import bottlenecked, max_min_rates
from tests.unit.fluid_networks import connections, flows_on_links, slow_pooled_rates

FRACTIONS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


def paths_of(topology, parameters, spare_ports, active_fraction, seed, cable_rate=1.0):
    fabric = build_fabric(topology, parameters)
    spare = wire_spare_ports(fabric, spare_ports, cable_rate)
    return fabric, cross_paths(fabric, spare, *permutation(fabric.servers, active_fraction, seed))


def test_textbook_example_of_three_flows():
    """Two links; one flow crosses both, the second link is wider (Bertsekas and Gallager, 6.5.2)"""
    use = sp.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert max_min_rates(use, np.array([1.0, 2.0])) == pytest.approx([0.5, 0.5, 1.5])


def test_a_flow_without_a_limit_has_no_rate():
    with pytest.raises(ValueError, match="without any limit"):
        max_min_rates(sp.csr_array(np.array([[1.0, 0.0]])), np.array([1.0]))


@given(flows_on_links(has_weights=True))
def test_rates_respect_limits_and_every_flow_has_a_bottleneck(network):
    """Which is true of the max-min fair rates and of no others."""
    use, limit = network
    rates = max_min_rates(use, limit)
    assert np.all(use @ rates <= limit * (1 + 1e-9))
    assert bottlenecked(use, limit, rates).all()


@given(flows_on_links(), st.randoms(use_true_random=False))
def test_rates_do_not_depend_on_the_order_of_flows(network, chance):
    use, limit = network
    order = list(range(use.shape[1]))
    chance.shuffle(order)
    assert max_min_rates(use, limit)[order] == pytest.approx(max_min_rates(use[:, order], limit))


def test_lowered_rates_have_no_bottleneck():
    use, limit = sp.csr_array(np.ones((1, 2))), np.array([1.0])
    assert not bottlenecked(use, limit, np.array([0.4, 0.4])).any()
    assert list(bottlenecked(use, limit, np.array([0.4, 0.6]))) == [False, True]


@settings(deadline=None)
@given(connections())
def test_pooled_rates_are_those_of_linear_programs(network):
    crossing, capacity, flow = network
    problem = Pooling(crossing, capacity, flow, np.arange(flow.max() + 1))
    assert pooled_rates(problem) == pytest.approx(slow_pooled_rates(problem), abs=1e-6)


@pytest.mark.parametrize("active_fraction", [0.5, 1.0])
@pytest.mark.parametrize(
    ("topology", "parameters", "spare_ports"),
    [
        ("fat_tree", {"k": 4}, 1),
        ("fat_tree", {"k": 4, "oversubscription": 2}, 1),
        ("dual_homed_fat_tree", {"k": 4}, 0),
        ("dual_homed_fat_tree", {"k": 4, "oversubscription": 2}, 1),
        ("leaf_spine", {"leaves": 2, "servers_per_leaf": 6}, 2),
        ("leaf_spine", {"leaves": 2, "servers_per_leaf": 5}, 2),  # a ring
        ("leaf_spine", {"leaves": 3, "spines": 2}, 3),
        ("vl2", {"servers_per_rack": 3, "fabric_speedup": 1}, 1),
    ],
)
def test_optimum_is_that_of_linear_programs(topology, parameters, spare_ports, active_fraction):
    fabric, paths = paths_of(topology, parameters, spare_ports, active_fraction, seed=3)
    expected = slow_pooled_rates(pooling_of(fabric, paths))
    assert optimum_rates(fabric, paths) == pytest.approx(expected, abs=1e-6)


def test_two_active_servers_of_a_pair_share_its_uplinks():
    """By hand: h0 and h1 send out of the rack and have 2 uplinks, h4 sends alone and has 2."""
    fabric = build_fabric("fat_tree", {"k": 4})
    spare = wire_spare_ports(fabric, 1)
    source, destination = np.array([0, 1, 4]), np.array([8, 10, 12])
    paths = cross_paths(fabric, spare, source, destination)
    assert optimum_rates(fabric, paths) == pytest.approx([1, 1, 2])


def test_a_spare_cable_is_shared_by_what_comes_and_what_goes():
    """By hand: h0 sends over h1's uplink while h1 receives over h0's downlink.

    Both need the cable from h0 to h1 for their second NIC, so that each gets half of it.
    """
    fabric = build_fabric("fat_tree", {"k": 4})
    source, destination = np.array([0, 4]), np.array([8, 1])
    paths = cross_paths(fabric, wire_spare_ports(fabric, 1), source, destination)
    assert optimum_rates(fabric, paths) == pytest.approx([1.5, 1.5])
    assert pooled_port_rates(fabric, paths) == pytest.approx([2, 2])


def test_neighbours_use_their_cable_and_the_switch():
    fabric = build_fabric("fat_tree", {"k": 4})
    spare = wire_spare_ports(fabric, 1)
    paths = cross_paths(fabric, spare, np.array([0, 1]), np.array([1, 0]))
    assert optimum_rates(fabric, paths) == pytest.approx([2, 2])
    assert pooled_port_rates(fabric, paths) == pytest.approx([2, 2])


def test_plain_tcp_has_one_port():
    fabric = build_fabric("fat_tree", {"k": 4})
    paths = cross_paths(fabric, wire_spare_ports(fabric, 1), np.array([0, 4]), np.array([8, 12]))
    paths = paths.restrict(np.array([True, False]))
    assert optimum_rates(fabric, paths) == pytest.approx([1, 2])
    assert pooled_port_rates(fabric, paths) == pytest.approx([1, 2])


def mean_oracle(topology, parameters, spare_ports, fraction, seeds):
    means = [pooled_port_rates(*paths_of(topology, parameters, spare_ports, fraction, seed)).mean()
             for seed in range(seeds)]  # fmt: skip
    return np.mean(means)


@pytest.mark.parametrize(
    ("spare_ports", "expected"),
    [
        (1, (1.76, 1.57, 1.38, 1.25, 1.14, 1.06, 1.02, 1.00)),
        (2, (2.37, 1.93, 1.63, 1.42, 1.26, 1.14, 1.04, 1.00)),
    ],
)
def test_oracle_of_groups_is_that_of_an_independent_calculation(spare_ports, expected):
    """Its values are for 1024 servers and were drawn at random, as ours are."""
    parameters = {"leaves": 64, "spines": 18, "servers_per_leaf": 18}
    found = [mean_oracle("leaf_spine", parameters, spare_ports, f, seeds=24) for f in FRACTIONS]
    assert found == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_closed_form_for_pairs(fraction):
    found = mean_oracle("fat_tree", {"k": 16}, 1, fraction, seeds=8)
    assert found == pytest.approx(analytic_oracle(1, fraction), abs=0.02)


def test_fast_cables_make_the_optimum_that_of_pooled_ports():
    fabric, paths = paths_of("fat_tree", {"k": 8}, 1, 0.5, seed=1, cable_rate=2.0)
    is_far = ~paths.meets.any(axis=1)
    rates = optimum_rates(fabric, paths), pooled_port_rates(fabric, paths)
    assert is_far.sum() > 50
    assert rates[0][is_far] == pytest.approx(rates[1][is_far])


@given(st.integers(0, 2**31), st.sampled_from(FRACTIONS))
@settings(max_examples=20, deadline=None)
def test_spare_ports_never_lower_the_least_rate(seed, fraction):
    least = [optimum_rates(*paths_of("fat_tree", {"k": 8}, ports, fraction, seed)).min()
             for ports in (0, 1, 3)]  # fmt: skip
    assert least[0] == pytest.approx(1)
    assert min(least[1:]) >= 1 - 1e-6


def test_oversubscription_lowers_the_optimum():
    fabric, paths = paths_of("fat_tree", {"k": 4, "oversubscription": 4}, 0, 1.0, seed=1)
    leaves = paths.start != paths.end
    assert optimum_rates(fabric, paths)[leaves.ravel()].mean() < 0.5
