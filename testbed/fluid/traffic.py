# SPDX-License-Identifier: Apache-2.0
"""Who sends to whom: permutation traffic, in which each server receives from one sender at most."""

import numpy as np

from testbed.errors import PlanError
from testbed.fluid.arrays import Ints


def permutation(servers: int, active_fraction: float, seed: int) -> tuple[Ints, Ints]:
    """Return the sources, ascending, and the destination of each.

    All servers get a destination, none its own, all different; then as many as are active are
    drawn. With one seed, the flows of a lower fraction are some of those of a higher one.
    """
    if not 0 < active_fraction <= 1:
        raise PlanError(
            f"the fraction of active servers is {active_fraction!r}; "
            "give a number above 0 and up to 1"
        )
    rng = np.random.default_rng(seed)
    destination = derangement(servers, rng)
    count = max(1, round(servers * active_fraction))
    source = np.sort(rng.permutation(servers)[:count])
    return source, destination[source]


def derangement(count: int, rng: np.random.Generator) -> Ints:
    """Return a random permutation without fixed points; all are equally likely."""
    if count < 2:
        raise PlanError(f"permutation traffic needs at least 2 servers; there is {count}")
    places = np.arange(count)
    while True:
        order = rng.permutation(count)
        if not np.any(order == places):
            return order


def check_pairs(pairs: tuple[tuple[int, int], ...], servers: int) -> tuple[Ints, Ints]:
    """Return sources, ascending, and destinations of given flows, one from and to each server."""
    if not pairs:
        raise PlanError("pairs is empty; give at least one flow")
    source, destination = np.array(sorted(pairs), dtype=np.int64).T
    for side, name in ((source, "sends"), (destination, "receives")):
        if side.min() < 0 or side.max() >= servers:
            raise PlanError(f"pairs: a server that {name} is not one of the {servers}")
        if np.unique(side).size < side.size:
            raise PlanError(f"pairs: a server {name} twice; give each one flow at most")
    if np.any(source == destination):
        raise PlanError("pairs: a server sends to itself; give another destination")
    return source, destination
