# SPDX-License-Identifier: Apache-2.0
"""Datacenter networks as arrays: sizes, ways, spare cables, traffic, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import PlanError
from testbed.fluid.arrays import NONE
from testbed.fluid.case import FluidCase
from testbed.fluid.ecmp import choose, subflow_keys
from testbed.fluid.routes import cross_paths, route_subflows
from testbed.fluid.solve import solve
from testbed.fluid.spare import wire_spare_ports
from testbed.fluid.sweep import matrix, sweep
from testbed.fluid.topologies import build_fabric
from testbed.fluid.traffic import derangement, permutation

SMALL = {
    "fat_tree": {"k": 4},
    "dual_homed_fat_tree": {"k": 4},
    "vl2": {"ports": 4},
    "leaf_spine": {},
}


def routed(topology, parameters, spare_ports=0, subflows=1, seed=1, active_fraction=1.0):
    fabric = build_fabric(topology, parameters)
    spare = wire_spare_ports(fabric, spare_ports)
    source, destination = permutation(fabric.servers, active_fraction, seed)
    paths = cross_paths(fabric, spare, source, destination)
    counts = np.full(source.size, subflows)
    return fabric, route_subflows(fabric, paths, source, counts, seed)


def hops(fabric, routes, subflow):
    links = routes.crossing.tocsc()[:, [subflow]].nonzero()[0]
    return sorted(fabric.kinds[fabric.kind[link]] for link in links)


@pytest.mark.parametrize(("k", "servers"), [(4, 16), (8, 128), (32, 8192)])
def test_a_fat_tree_has_a_quarter_of_k_cubed_servers(k, servers):
    fabric = build_fabric("fat_tree", {"k": k})
    assert fabric.servers == servers
    assert fabric.capacity.size == 6 * servers  # three cables per server, two directions


@pytest.mark.parametrize("topology", SMALL)
@pytest.mark.parametrize("spare_ports", [0, 1])
def test_all_servers_are_reached(topology, spare_ports):
    """Every subflow leaves by a server's port or a cable and arrives by another."""
    fabric, routes = routed(topology, SMALL[topology], spare_ports, subflows=4)
    kinds = [hops(fabric, routes, at) for at in range(routes.flow.size)]
    for kind in kinds:
        assert kind.count("server-up") == kind.count("server-down") <= 1
        assert "server-up" in kind or "spare" in kind
        assert len(kind) % 2 == kind.count("spare") % 2


def test_ways_of_a_fat_tree():
    """Same rack: 2 hops; same pod: 4; other pod: 6; a relay at one end: 1 more."""
    fabric, routes = routed("fat_tree", {"k": 4}, 1, subflows=1, active_fraction=1.0)
    lengths = routes.crossing.sum(axis=0)
    assert set(lengths) <= {1, 2, 4, 6, 3, 5, 7, 8}
    assert set(lengths[~routes.relays]) <= {2, 4, 6}


def test_subflows_spread_over_all_core_links():
    """With a hash of its own per switch; the same one at all would leave half of the core idle."""
    fabric, routes = routed("fat_tree", {"k": 8}, subflows=8)
    load = routes.crossing.sum(axis=1)
    core = load[[fabric.kinds[kind] == "aggregation-core" for kind in fabric.kind]]
    assert core.min() > 0
    assert core.max() < 4 * core.mean()


@given(st.integers(1, 64), st.integers(0, 2**32))
def test_next_hops_are_equally_likely(count, seed):
    keys = subflow_keys(np.arange(20_000), np.zeros(20_000, dtype=np.int64), seed)
    chosen = np.bincount(choose(keys, np.full(20_000, 7), count), minlength=count)
    assert chosen.size == count
    assert abs(chosen - 20_000 / count).max() < 6 * np.sqrt(20_000 / count)


def test_switches_choose_independently():
    keys = subflow_keys(np.arange(10_000), np.zeros(10_000, dtype=np.int64), 1)
    one, other = (choose(keys, np.full(10_000, switch), 2) for switch in (1, 2))
    assert np.mean(one == other) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("servers", "ports", "neighbours"),
    [
        (4, 1, [[1], [0], [3], [2]]),
        (3, 1, [[1], [0], [NONE]]),
        (3, 2, [[1, 2], [2, 0], [0, 1]]),
        (4, 2, [[1, 3], [2, 0], [3, 1], [0, 2]]),
        (4, 3, [[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]]),
        (6, 3, [[1, 5, 3], [2, 0, 4], [3, 1, 5], [4, 2, 0], [5, 3, 1], [0, 4, 2]]),
    ],
)
def test_spare_ports_are_wired_in_the_rack(servers, ports, neighbours):
    fabric = build_fabric("leaf_spine", {"leaves": 1, "servers_per_leaf": servers})
    spare = wire_spare_ports(fabric, ports)
    assert spare.neighbour.tolist() == neighbours
    for server, row in enumerate(spare.neighbour):
        for port, other in enumerate(row):
            if other != NONE:
                back = list(spare.neighbour[other]).index(server)
                assert spare.cable_from[server, port] == spare.cable_to[other, back]


@given(st.integers(2, 50), st.floats(0.01, 1), st.integers(0, 2**32))
def test_permutation_has_one_receiver_each_and_no_loop(servers, fraction, seed):
    source, destination = permutation(servers, fraction, seed)
    assert source.size == max(1, round(servers * fraction))
    assert np.unique(source).size == np.unique(destination).size == source.size
    assert not np.any(source == destination)


def test_a_lower_fraction_is_part_of_a_higher_one():
    few, many = (permutation(100, fraction, 5) for fraction in (0.25, 0.5))
    assert set(zip(*few, strict=True)) < set(zip(*many, strict=True))


def test_derangements_are_equally_likely():
    rng = np.random.default_rng(1)
    drawn = [tuple(derangement(4, rng)) for _ in range(3000)]
    counts = [drawn.count(one) for one in set(drawn)]
    assert len(counts) == 9
    assert min(counts) > 3000 / 9 * 0.75


def test_the_same_case_gives_the_same_answer():
    case = FluidCase(spare_ports=1, active_fraction=0.5, seed=4)
    assert sweep([case, case]).iloc[0].equals(sweep([case]).iloc[0])


def test_lone_connections_fill_what_ports_and_cables_allow():
    """By hand, k = 4: one flow has 1 NIC by TCP, and 2 with a spare port."""
    pairs = ((0, 12),)
    tcp = solve(FluidCase(transport="tcp", cc="reno", pairs=pairs, spare_ports=1))
    assert tcp.goodput == pytest.approx([1], abs=2e-3)
    mptcp = solve(FluidCase(cc="lia", pairs=pairs, spare_ports=1, subflows=16))
    assert mptcp.goodput == pytest.approx([2], abs=2e-3)
    assert mptcp.optimum == pytest.approx([2])


def test_the_names_of_numbers_are_those_of_the_emulation():
    row = solve(FluidCase(spare_ports=1)).row()
    assert {"spare_ports", "active_fraction", "cc", "subflows", "goodput_nic", "oracle_nic",
            "lender_goodput_nic"} <= set(row)  # fmt: skip
    assert 0 < row["core_utilisation"] <= 1
    assert row["jain"] <= 1


def test_headers_take_their_part():
    whole, part = (solve(FluidCase(payload_fraction=share)).row() for share in (1.0, 0.95))
    assert part["goodput_nic"] == pytest.approx(0.95 * whole["goodput_nic"])
    assert part["oracle_nic"] == whole["oracle_nic"]


@pytest.mark.parametrize("control", ["reno", "lia", "olia"])
@pytest.mark.parametrize("topology", SMALL)
def test_nothing_is_overloaded(topology, control):
    result = solve(FluidCase(topology, SMALL[topology], spare_ports=1, cc=control, subflows=2))
    assert max(share.max() for share in result.utilisation.values()) <= 1 + 1e-9
    assert result.residual <= 2e-3


def test_a_lender_by_plain_tcp_keeps_more_if_borrowers_are_linked():
    case = FluidCase(parameters={"k": 8}, spare_ports=1, tcp_fraction=0.5, active_fraction=0.5)
    table = sweep(matrix(case, (1,), (0.5,), ("reno", "lia", "olia"), seeds=range(3)))
    kept = table.groupby("cc")["lender_tcp_goodput_nic"].mean()
    assert kept["reno"] + 0.1 < kept["lia"] < kept["olia"]


def test_more_subflows_come_nearer_to_the_optimum():
    case = FluidCase(parameters={"k": 8}, cc="reno")
    table = sweep(matrix(case, (0,), (1.0,), ("reno",), (1, 2, 4, 8)))
    assert table["goodput_nic"].is_monotonic_increasing
    assert table["goodput_nic"].iloc[-1] > 0.85


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (FluidCase("fat_trees"), 'did you mean "fat_tree"'),
        (FluidCase(parameters={"kk": 4}), 'no parameter "kk"; did you mean "k"'),
        (FluidCase(parameters={"k": 5}), "k is 5; give an even number"),
        (FluidCase(parameters={"k": 0}), "whole number of at least 2"),
        (FluidCase("dual_homed_fat_tree", {"k": 6}), "multiple of 4"),
        (FluidCase("vl2", {"ports": 3}), "even number"),
        (FluidCase(spare_ports=2), "a rack has 2 servers"),
        (FluidCase(spare_ports=4), "from 0 to 3"),
        (FluidCase("leaf_spine", {"servers_per_leaf": 5}, spare_ports=3), "has to be even"),
        (FluidCase(active_fraction=0), "above 0 and up to 1"),
        (FluidCase(active_fraction=1.5), "above 0 and up to 1"),
        (FluidCase(cc="balia"), "there are reno, cubic, lia, olia"),
        (FluidCase(transport="sctp"), 'give "mptcp" or "tcp"'),
        (FluidCase(subflows=0), "at least 1"),
        (FluidCase(spare_ports=1, subflows=66), "would have 17; the kernel allows 65"),
        (FluidCase(pairs=((0, 0),)), "sends to itself"),
        (FluidCase(pairs=((0, 1), (0, 2))), "sends twice"),
        (FluidCase(pairs=((0, 16),)), "not one of the 16"),
        (FluidCase(tcp_fraction=2), "from 0 to 1"),
        (FluidCase(payload_fraction=0), "above 0 and up to 1"),
    ],
)
def test_wrong_cases_are_refused_with_a_sentence(case, words):
    with pytest.raises(PlanError, match=words):
        solve(case)
