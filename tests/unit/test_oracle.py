# SPDX-License-Identifier: Apache-2.0
"""The oracle: hand cases, the published table for pairs and triples, and what defines max-min."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.oracle import Demand, analytic_pairs, max_min
from testbed.plan.traffic import permutation


def flow(up, down):
    return Demand(frozenset(up), frozenset(down))


def grouped(pairs, size):
    """Return the demands of servers that share all ports with their group of `size`."""
    return [
        flow(
            [("up", s // size * size + n) for n in range(size)],
            [("down", t // size * size + n) for n in range(size)],
        )
        for s, t in pairs
    ]


def test_one_flow_gets_all_its_ports():
    assert max_min([flow("ab", "cd")]) == pytest.approx([2.0])
    assert max_min([flow("ab", "c")]) == pytest.approx([1.0])


def test_two_flows_share_what_both_may_use():
    """The first has the port a alone, so it leaves b to the second."""
    assert max_min([flow("ab", "xyz"), flow("b", "uvw")]) == pytest.approx([1.0, 1.0])


def test_what_one_cannot_use_goes_to_the_other():
    """Both could get 1.5 of the three uplinks, but the second has one downlink only."""
    assert max_min([flow("abc", "uvw"), flow("abc", "x")]) == pytest.approx([2.0, 1.0])


def test_a_ring_is_more_than_its_parts():
    """Four uplinks in a ring, two opposite senders: each reaches three, together all four."""
    ring = [flow([0, 1, 3], "uvw"), flow([2, 1, 3], "xyz")]
    assert max_min(ring) == pytest.approx([2.0, 2.0])


def test_capacities_that_are_not_one():
    assert max_min([flow("a", "c"), flow("a", "d")], {"a": 3.0, "d": 0.5}) == pytest.approx(
        [1.0, 0.5]
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # Agache et al.: 128 servers and more, a fraction f of which sends to any other
        (2, {0.125: 1.76, 0.25: 1.57, 0.5: 1.25, 0.75: 1.06, 1.0: 1.00}),
        (3, {0.125: 2.37, 0.25: 1.93, 0.5: 1.42, 0.75: 1.14, 1.0: 1.00}),
    ],
)
def test_groups_get_what_progressive_filling_over_pools_gives(size, expected):
    hosts, chance = range(126), random.Random(1)
    for fraction, value in expected.items():
        means = []
        for _ in range(20):
            rates = max_min(grouped(permutation(hosts, fraction, chance), size))
            means.append(sum(rates) / len(rates))
        assert sum(means) / len(means) == pytest.approx(value, abs=0.035)


@pytest.mark.parametrize(("fraction", "expected"), [(0.125, 1.77), (0.5, 1.25), (1.0, 1.0)])
def test_analytic_curve(fraction, expected):
    assert analytic_pairs(fraction) == pytest.approx(expected, abs=0.005)


DEMANDS = st.lists(
    st.builds(
        flow,
        st.sets(st.integers(0, 5), min_size=1, max_size=3),
        st.sets(st.integers(0, 5), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(DEMANDS)
def test_no_set_exceeds_its_ports_and_each_flow_is_in_a_tight_one(flows):
    """Feasible by Hall's condition; and each flow is in a tight set in which none is faster."""
    rates = max_min(flows)
    blocked = set()
    for members in range(1, 1 << len(flows)):
        chosen = [n for n in range(len(flows)) if members >> n & 1]
        for side in ("up", "down"):
            ports = set().union(*(getattr(flows[n], side) for n in chosen))
            total = sum(rates[n] for n in chosen)
            assert total <= len(ports) + 1e-6
            if total >= len(ports) - 1e-6:
                fastest = max(rates[n] for n in chosen)
                blocked |= {n for n in chosen if rates[n] >= fastest - 1e-6}
    assert blocked == set(range(len(flows)))
