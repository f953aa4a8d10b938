# SPDX-License-Identifier: Apache-2.0
"""Rates and prices at which congestion control comes to rest.

A link has a price, the fraction of packets that it drops or marks; a subflow's price is the sum of
those on its way. In equilibrium each subflow's rate is what its congestion control makes of its
price, no link carries more than its capacity, and a link with room has no price (Kelly, Maulloo
and Tan 1998; Low 2003). Prices are found by

    price_l <- price_l * (load_l / capacity_l) ^ step

The logarithm of the load falls by at most e per unit of the logarithm of all prices, where e is the
elasticity of the law: 1/2 for Reno, at most 3/2 for LIA (1 for its share, 1/2 for its total). The
iteration contracts for steps below 2/e.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from testbed.fluid.arrays import Floats, Ints, Sparse
from testbed.fluid.control import LAWS

STEPS = {"reno": 3.0, "cubic": 3.0, "lia": 1.3}
TOLERANCE = 2e-3
ROUNDS, ROUNDS_PER_CHECK = 20_000, 20
LEAST_PRICE = 1e-12


@dataclass(frozen=True)
class Equilibrium:
    """Where congestion control comes to rest.

    Attributes:
        rate: of each subflow; no link carries more than its capacity.
        price: of each link.
        rounds: of the iteration.
        residual: how far from an equilibrium it is, see the solver's `TOLERANCE`.
    """

    rate: Floats
    price: Floats
    rounds: int
    residual: float


def equilibrium(
    crossing: Sparse, capacity: Floats, flow: Ints, control: str, tolerance: float = TOLERANCE
) -> Equilibrium:
    """Return the equilibrium of a congestion control that has a law, with equal RTTs.

    Args:
        crossing: links x subflows, 1 where a subflow crosses a link.
        flow: the connection of each subflow, ascending.
        tolerance: of the fraction by which a link is overloaded before rates are scaled down to
            fit, and of the mean fraction that a link with a price is over or below its capacity.

    Raises:
        ArithmeticError: the iteration does not come to rest.
    """
    rows, columns = sp.csr_array(crossing), sp.csr_array(sp.csr_array(crossing).T)
    law, step, rtt = LAWS[control], STEPS[control], np.ones(flow.size)
    price = first_prices(rows, capacity)
    for number in range(ROUNDS):
        rate = law(columns @ price, rtt, flow)
        fill = (rows @ rate) / capacity
        if number % ROUNDS_PER_CHECK == 0:
            slack = float(price @ np.abs(1 - fill) / price.sum())
            residual = max(float(fill.max()) - 1, slack)
            if residual <= tolerance:
                return Equilibrium(fit(columns, rate, fill), price, number, residual)
        price = np.maximum(price * fill**step, LEAST_PRICE)
    raise ArithmeticError(f"no equilibrium after {ROUNDS} rounds; {residual:.2g} are missing")


def first_prices(rows: Sparse, capacity: Floats) -> Floats:
    """Return the prices if all subflows of each link shared it equally and met no other."""
    prices: Floats = np.maximum(2 * (rows.sum(axis=1) / capacity) ** 2, LEAST_PRICE)
    return prices


def fit(columns: Sparse, rate: Floats, fill: Floats) -> Floats:
    """Return rates that are lowered where a link carries more than it can.

    Args:
        columns: subflows x links.
        fill: load over capacity of each link.
    """
    worst = np.maximum.reduceat(np.maximum(fill, 1)[columns.indices], columns.indptr[:-1])
    fitted: Floats = rate / worst
    return fitted
