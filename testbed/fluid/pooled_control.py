# SPDX-License-Identifier: Apache-2.0
"""The equilibrium of OLIA: connections that use their best paths only.

Khalili et al. (IEEE/ACM ToN 2013, Theorem 1 and section V) show that OLIA uses the paths of least
price only (RTTs being equal), with the total rate of TCP on such a path: 2 / total^2 = price. These
are the optimality conditions of

    minimise  sum over connections of 2 / total   such that   crossing @ rate <= capacity

which has one solution in the totals. It is found by the primal-dual method of Chambolle and Pock
(2011) with diagonal steps (Pock and Chambolle, 2011), and certified by the duality gap: for all
prices p >= 0, whose sums on the cheapest paths are q,

    sum of 2 sqrt(2 q)  -  p . capacity  <=  the minimum.
"""

import numpy as np
import scipy.sparse as sp

from testbed.fluid.arrays import Floats, Ints, Sparse, group_starts
from testbed.fluid.equilibrium import ROUNDS, TOLERANCE, Equilibrium, equilibrium, fit

BALANCE = 0.3  # of steps in rates to steps in prices
ROUNDS_PER_CHECK = 50
START_TOLERANCE = 0.05
LEAST_TOTAL = 1e-9


def pooled_equilibrium(
    crossing: Sparse, capacity: Floats, flow: Ints, tolerance: float = TOLERANCE
) -> Equilibrium:
    """Return the equilibrium of OLIA with equal RTTs.

    Args:
        crossing: links x subflows, 1 where a subflow crosses a link.
        flow: the connection of each subflow, ascending.
        tolerance: of the duality gap, as a fraction of the minimum.

    Raises:
        ArithmeticError: the iteration does not come to rest.
    """
    rows, columns = sp.csr_array(crossing), sp.csr_array(sp.csr_array(crossing).T)
    starts = group_starts(flow)
    group = np.repeat(np.arange(starts.size), np.diff(np.append(starts, flow.size)))
    start = equilibrium(crossing, capacity, flow, "lia", START_TOLERANCE)
    rate, price = start.rate, start.price
    toll = 2 / np.add.reduceat(rate, starts) ** 2
    rate_step = BALANCE / (columns.sum(axis=1) + 1)
    price_step = 1 / (BALANCE * np.maximum(rows.sum(axis=1), 1))
    toll_step = 1 / (BALANCE * np.bincount(group))
    for number in range(1, ROUNDS):
        before = rate
        rate = np.maximum(rate - rate_step * (columns @ price - toll[group]), 0)
        ahead = 2 * rate - before
        price = np.maximum(price + price_step * (rows @ ahead - capacity), 0)
        toll = _next_toll(toll - toll_step * np.add.reduceat(ahead, starts), toll_step)
        if number % ROUNDS_PER_CHECK == 0:
            fitted = fit(columns, rate, (rows @ rate) / capacity)
            gap = _gap(fitted, columns @ price, float(price @ capacity), starts)
            if gap <= tolerance:
                return Equilibrium(fitted, price, number, gap)
    raise ArithmeticError(f"no equilibrium after {ROUNDS} rounds; the duality gap is {gap:.2g}")


def _next_toll(wanted: Floats, step: Floats) -> Floats:
    """Return the root t > 0 of t - wanted = step * sqrt(2 / t), by Newton's method for sqrt(t)."""
    pull = step * np.sqrt(2)
    root = np.sqrt(np.maximum(wanted, 0)) + np.cbrt(pull)  # above the root, where all is convex
    for _ in range(50):
        change = (root**3 - wanted * root - pull) / (3 * root**2 - wanted)
        root = root - change
        if np.all(np.abs(change) <= 1e-12 * root):
            break
    toll: Floats = root**2
    return toll


def _gap(rate: Floats, price: Floats, worth: float, starts: Ints) -> float:
    """Return by how much rates that fit may miss the minimum, as a fraction of it."""
    totals = np.maximum(np.add.reduceat(rate, starts), LEAST_TOTAL)
    cost = float((2 / totals).sum())
    bound = float((2 * np.sqrt(2 * np.minimum.reduceat(price, starts))).sum()) - worth
    return (cost - bound) / cost
