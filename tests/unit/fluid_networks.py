# SPDX-License-Identifier: Apache-2.0
"""Small networks for tests of the fluid model, and a slow solver to compare with."""

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st
from scipy.optimize import linprog

from testbed.fluid.pooling import Pooling


@st.composite
def flows_on_links(draw, has_weights=False):
    """Return a matrix limits x flows without an unlimited flow, and the limits."""
    limits, flows = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    weights = st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0] if has_weights else [0.0, 1.0])
    cells = draw(st.lists(weights, min_size=limits * flows, max_size=limits * flows))
    use = np.array(cells).reshape(limits, flows)
    for flow in range(flows):
        if not use[:, flow].any():
            use[draw(st.integers(0, limits - 1)), flow] = 1.0
    limit = draw(st.lists(st.integers(1, 5), min_size=limits, max_size=limits))
    return sp.csr_array(use), np.array(limit, dtype=float)


@st.composite
def connections(draw):
    """Return links x subflows, capacities, and the connection of each subflow."""
    crossing, capacity = draw(flows_on_links())
    flow = np.sort(draw(st.lists(st.integers(0, 3), min_size=crossing.shape[1],
                                 max_size=crossing.shape[1])))  # fmt: skip
    return crossing, capacity, np.unique(flow, return_inverse=True)[1]


def slow_pooled_rates(problem: Pooling):
    """Return max-min fair rates by linear programs alone.

    Raises the common rate as far as it goes, asks of every flow whether it can have more, fixes
    those that cannot, and so on.
    """
    fixed = {}
    while len(fixed) < problem.flows:
        level = _best_level(problem, fixed)
        floor = [fixed.get(flow, level) - 1e-8 for flow in range(problem.flows)]
        stuck = [flow for flow in range(problem.flows)
                 if flow not in fixed and _most(problem, floor, flow) < level + 1e-5]  # fmt: skip
        assert stuck
        fixed.update(dict.fromkeys(stuck, level))
    return np.array([fixed[flow] for flow in range(problem.flows)])


def _constraints(problem: Pooling):
    """Return the constraints of variables that are options, then flows."""
    legs, options, flows = problem.flow.size, problem.leg.size, problem.flows
    chosen, needed = np.zeros((legs, options)), np.zeros((legs, flows))
    chosen[problem.leg, np.arange(options)] = -1
    needed[np.arange(legs), problem.flow] = 1
    use = problem.use.toarray()
    matrix = np.block([[chosen, needed], [use, np.zeros((use.shape[0], flows))]])
    return matrix, np.concatenate([np.zeros(legs), problem.capacity])


def _best_level(problem: Pooling, fixed):
    matrix, limit = _constraints(problem)
    options, flows = problem.leg.size, problem.flows
    at_least = np.zeros((flows, options + flows + 1))
    at_least[np.arange(flows), options + np.arange(flows)] = -1
    at_least[[flow for flow in range(flows) if flow not in fixed], -1] = 1
    floor = [-fixed.get(flow, 0.0) + 1e-9 for flow in range(flows)]
    rows = np.vstack([np.pad(matrix, ((0, 0), (0, 1))), at_least])
    cost = np.zeros(options + flows + 1)
    cost[-1] = -1
    found = linprog(cost, A_ub=rows, b_ub=np.concatenate([limit, floor]))
    assert found.status == 0, found.message
    return found.x[-1]


def _most(problem: Pooling, floor, flow):
    matrix, limit = _constraints(problem)
    options = problem.leg.size
    cost = np.zeros(options + problem.flows)
    cost[options + flow] = -1
    bounds = [(0, None)] * options + [(rate, None) for rate in floor]
    found = linprog(cost, A_ub=matrix, b_ub=limit, bounds=bounds)
    assert found.status == 0, found.message
    return -found.fun
