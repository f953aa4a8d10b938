# SPDX-License-Identifier: Apache-2.0
"""Max-min fair rates of connections that may spread over several paths as they like.

A connection has one leg or several, each of them needs the connection's whole rate, and each has
options between which that rate may be split in any way. Splits are part of the solution, so plain
water filling does not do. But rates x have a feasible split exactly if, whatever prices the links
are given, the connections do not pay more than the links are worth at their cheapest options
(Farkas' lemma; for flows in networks the condition of Iri, Onaga and Kakusho):

    for all p >= 0:  sum over legs of x * min over options (p . use)  <=  sum over links of p * c

Each price vector gives one linear limit on x alone. Water filling under some of these limits,
then a linear program that either finds a feasible split or prices that are violated, in turns:
what water filling gives never falls below the true rates, and it is exact once a split exists.
The number of limits is finite, because the linear program returns vertices.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from testbed.fluid.arrays import Floats, Ints, Sparse
from testbed.fluid.water_filling import max_min_rates

MISSING = 1e-7  # rate that may be left without a split, for the rounding of the linear program
MAX_ROUNDS = 200


@dataclass(frozen=True)
class Pooling:
    """Connections that may spread.

    Attributes:
        use: links x options; what each option needs of a link.
        capacity: of each link.
        leg: the leg of each option, ascending.
        flow: the connection of each leg.
    """

    use: Sparse
    capacity: Floats
    leg: Ints
    flow: Ints

    @property
    def flows(self) -> int:
        """How many connections there are."""
        return int(self.flow.max()) + 1


def pooled_rates(problem: Pooling) -> Floats:
    """Return the max-min fair rates of the connections."""
    limits, values = _first_limits(problem)
    for _ in range(MAX_ROUNDS):
        rates = max_min_rates(limits, values)
        cuts, worths = _violated(problem, rates)
        if not worths.size:
            return rates
        limits = sp.csr_array(sp.vstack([limits, cuts]))
        values = np.concatenate([values, worths])
    raise ArithmeticError(f"no max-min fair rates after {MAX_ROUNDS} rounds")


def _first_limits(problem: Pooling) -> tuple[Sparse, Floats]:
    """Return limits that are easy to see: legs with the same narrow links share what these carry.

    Every option crosses links; the narrowest of each, taken together, limit the leg.
    """
    narrow = _narrowest(problem)
    legs = problem.flow.size
    shape = (legs, problem.capacity.size)
    links_of = sp.csr_array((np.ones(narrow.size), (problem.leg, narrow)), shape=shape)
    links_of.sum_duplicates()
    links_of.data[:] = 1.0
    fingerprint = np.random.default_rng(0).random(problem.capacity.size)
    _, first, group = np.unique(
        np.round(links_of @ fingerprint, 9), return_index=True, return_inverse=True
    )
    worth = links_of[first] @ problem.capacity
    shape = (first.size, problem.flows)
    return sp.csr_array((np.ones(legs), (group, problem.flow)), shape=shape), worth


def _narrowest(problem: Pooling) -> Ints:
    """Return, for each option, the link of the least capacity, the most used one if several."""
    columns = sp.csc_array(problem.use)
    load = problem.use @ np.ones(problem.leg.size)
    rank = np.empty(load.size)
    rank[np.lexsort((-load, problem.capacity))] = np.arange(load.size)
    best = np.minimum.reduceat(rank[columns.indices], columns.indptr[:-1]).astype(np.int64)
    return np.lexsort((-load, problem.capacity))[best]


def _violated(problem: Pooling, rates: Floats) -> tuple[Sparse, Floats]:
    """Return limits that the rates violate, one for each independent part of the network."""
    missing, toll, price = _cheapest_prices(problem, rates)
    if missing <= MISSING:
        return sp.csr_array((0, problem.flows)), np.zeros(0)
    part = _parts(problem, price > 0)
    links, legs = problem.capacity.size, problem.flow.size
    count = int(part.max()) + 1
    worth = np.bincount(part[:links], price * problem.capacity, minlength=count)
    shape = (count, problem.flows)
    cuts = sp.csr_array((toll, (part[links : links + legs], problem.flow)), shape=shape)
    is_violated = cuts @ rates > worth + MISSING / 10 / max(count, 1)
    return cuts[np.flatnonzero(is_violated)], worth[is_violated]


def _cheapest_prices(problem: Pooling, rates: Floats) -> tuple[float, Floats, Floats]:
    """Return how much rate finds no split at least, the toll of each leg and the links' prices.

    Minimises the sum of what is missing of each leg. The prices are the program's multipliers.
    """
    options, legs = problem.leg.size, problem.flow.size
    shape = (legs, options)
    chosen = sp.csr_array((np.ones(options), (problem.leg, np.arange(options))), shape=shape)
    links = problem.capacity.size
    upper = sp.vstack([sp.hstack([-chosen, -sp.eye_array(legs)]),
                       sp.hstack([problem.use, sp.csr_array((links, legs))])])  # fmt: skip
    cost = np.concatenate([np.zeros(options), np.ones(legs)])
    limit = np.concatenate([-rates[problem.flow], problem.capacity])
    found: Any = linprog(cost, A_ub=sp.csc_array(upper), b_ub=limit, method="highs-ds")
    if found.status != 0:
        raise ArithmeticError(f"the linear program of a feasible split ended with: {found.message}")
    multipliers = -np.asarray(found.ineqlin.marginals)
    multipliers[np.abs(multipliers) < 1e-9] = 0.0
    return float(found.fun), multipliers[:legs], multipliers[legs:]


def _parts(problem: Pooling, is_priced: Any) -> Ints:
    """Return to which part each link, and after them each leg, belongs.

    Legs that cross no common link with a price have nothing to do with each other.
    """
    links, legs = problem.capacity.size, problem.flow.size
    entries = sp.coo_array(problem.use)
    kept = is_priced[entries.row]
    rows, columns = entries.row[kept], links + problem.leg[entries.col[kept]]
    size = links + legs
    graph = sp.coo_array((np.ones(rows.size), (rows, columns)), shape=(size, size))
    _, part = sp.csgraph.connected_components(graph, directed=False)
    labels: Ints = part.astype(np.int64)
    return labels
