# SPDX-License-Identifier: Apache-2.0
"""Max-min fair rates under linear limits, by progressive filling.

All rates rise together; those that meet a full limit stop there, the others go on (Bertsekas and
Gallager, Data Networks, 6.5.2). Limits that no other can forestall are filled in the same round:
a limit is full at its own level whatever happens elsewhere if none of its flows has a lower one,
because a flow that stops early leaves more to the others.
"""

import numpy as np
import scipy.sparse as sp

from testbed.fluid.arrays import Bools, Floats, Sparse, row_minimum

RELATIVE_TOLERANCE = 1e-9


def max_min_rates(use: Sparse, limit: Floats) -> Floats:
    """Return the max-min fair rates of flows: `use` @ rates <= `limit`.

    Args:
        use: limits x flows, nothing negative; how much a flow needs of a limit per unit of rate.
            Every flow must need some of one at least.
        limit: above 0.

    Returns:
        The one vector of rates in which none can be raised without lowering one that is not higher.
    """
    rows, columns = sp.csr_array(use), sp.csr_array(sp.csr_array(use).T)
    rates = np.zeros(rows.shape[1])
    live = np.ones(rows.shape[1], dtype=bool)
    while live.any():
        level = _levels(rows, limit, rates, live)
        lowest = row_minimum(columns, level)
        if np.isinf(lowest[live]).any():
            raise ValueError("a flow without any limit has no max-min rate")
        full = _is_full(rows, level, lowest, live)
        stops = live & (columns @ full > 0)
        rates[stops] = lowest[stops]
        live &= ~stops
    return rates


def bottlenecked(use: Sparse, limit: Floats, rates: Floats, tolerance: float = 1e-6) -> Bools:
    """Return which flows have a bottleneck: a full limit at which no flow has a higher rate.

    Rates are max-min fair exactly if they respect the limits and every flow has a bottleneck.
    """
    rows = sp.csr_array(use)
    is_full = rows @ rates >= limit * (1 - tolerance)
    highest = -row_minimum(rows, -rates)
    columns = sp.csr_array(rows.T)
    least_excess = row_minimum(columns, np.where(is_full, highest, np.inf))
    found: Bools = least_excess <= rates * (1 + tolerance)
    return found


def _levels(rows: Sparse, limit: Floats, rates: Floats, live: Bools) -> Floats:
    """Return the common rate of live flows at which each limit is full; inf without such flows."""
    weight = rows @ live.astype(float)
    left = np.maximum(limit - rows @ rates, 0)
    level = np.full(limit.size, np.inf)
    np.divide(left, weight, out=level, where=weight > 0)
    return level


def _is_full(rows: Sparse, level: Floats, lowest: Floats, live: Bools) -> Floats:
    """Return 1 for limits whose live flows are held back by none that is lower, else 0."""
    least = row_minimum(rows, np.where(live, lowest, np.inf))
    is_first = np.isfinite(level) & (level <= least * (1 + RELATIVE_TOLERANCE))
    full: Floats = is_first.astype(float)
    return full
