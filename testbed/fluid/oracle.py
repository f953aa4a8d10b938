# SPDX-License-Identifier: Apache-2.0
"""The optimum: max-min fair rates if traffic could be split over all paths without limit.

In a fat tree, VL2 or leaf-spine network, traffic that is split evenly over all ways between two
racks fills the links from a rack evenly, and the links beyond them no more than those. So the
inside of the fabric limits nothing that the links of racks do not limit already, and what remains
are the servers' ports, the spare cables, and the sum of the links of each rack.
"""

import numpy as np

from testbed.fluid.arrays import NONE, Bools, Floats, Ints, incidence
from testbed.fluid.fabric import Fabric
from testbed.fluid.pooling import Pooling, pooled_rates
from testbed.fluid.routes import CrossPaths


def optimum_rates(fabric: Fabric, paths: CrossPaths) -> Floats:
    """Return the max-min fair rate of each flow, in NICs, over all cross paths and ECMP paths."""
    return pooled_rates(pooling_of(fabric, paths))


def pooled_port_rates(fabric: Fabric, paths: CrossPaths) -> Floats:
    """Return the max-min fair rate of each flow if nothing but the servers' ports limited it.

    This is the oracle of the literature on GRIN: neighbours' ports are one pool, spare cables and
    racks carry everything. Neighbours have the cable between them on top of their other ports.
    """
    flows = np.arange(paths.is_there.shape[0])
    links = fabric.capacity.size
    cable_out, cable_in = paths.out_cable, np.where(paths.in_cable == NONE, NONE, links)
    cable_in = cable_in + np.maximum(paths.in_cable, 0)  # in a copy of the links
    up = np.where(paths.leaves_by_end, cable_out, paths.out_port)
    down = np.where(paths.comes_by_start, cable_in, paths.in_port)
    parts = [
        _options(flows, np.flatnonzero(paths.way_in == 0), paths.is_there, [up]),
        _options(flows, np.flatnonzero(paths.way_out == 0), paths.is_there, [down]),
    ]
    return pooled_rates(_assemble(parts, np.tile(fabric.capacity, 2)))


def analytic_oracle(spare_ports: int, active_fraction: float) -> float:
    """Return the expected rate of a flow of a large permutation with pooled ports, in NICs.

    Without a spare port it is 1. With one, two uplinks are shared by one sender or two, and two
    downlinks by one receiver or two, so that no rate is below 1: a flow that shares any gets 1,
    and one that shares none, which happens with probability (1-f)^2, gets 2. For more ports there
    is no closed form: nan.
    """
    if spare_ports == 0:
        return 1.0
    return 1 + (1 - active_fraction) ** 2 if spare_ports == 1 else float("nan")


def pooling_of(fabric: Fabric, paths: CrossPaths) -> Pooling:
    """Return the problem whose solution the optimum is.

    Flows whose way out has nothing to do with their way in have a leg for each; the others have
    one leg, whose options are whole cross paths.
    """
    capacity = np.concatenate([fabric.capacity, fabric.rack_rate, fabric.rack_rate])
    binds = fabric.rack_rate < np.bincount(fabric.rack.ravel(), minlength=fabric.rack_rate.size)
    rack_up = np.where(binds, fabric.capacity.size + np.arange(binds.size), NONE)
    rack_down = np.where(binds, rack_up + binds.size, NONE)
    stays = paths.start == paths.end
    up = [paths.out_cable, np.where(paths.meets, NONE, paths.out_port),
          np.where(stays, NONE, rack_up[paths.start])]  # fmt: skip
    down = [np.where(stays, NONE, rack_down[paths.end]),
            np.where(paths.meets, NONE, paths.in_port), paths.in_cable]  # fmt: skip
    is_apart = _is_apart(paths, binds)
    apart, together = np.flatnonzero(is_apart), np.flatnonzero(~is_apart)
    parts = [
        _options(apart, np.flatnonzero(paths.way_in == 0), paths.is_there, up),
        _options(apart, np.flatnonzero(paths.way_out == 0), paths.is_there, down),
        _options(together, np.arange(paths.way_in.size), paths.is_there, up + down),
    ]
    return _assemble(parts, capacity)


def _is_apart(paths: CrossPaths, binds: Bools) -> Bools:
    """Return for which flows any way out goes with any way in at the same cost."""
    stays = np.where(paths.is_there, paths.start == paths.end, False)
    goes = np.where(paths.is_there, paths.start != paths.end, False)
    is_mixed = stays.any(axis=1) & goes.any(axis=1) & binds.any()
    has_meeting = np.any(paths.meets & paths.is_there, axis=1)
    is_apart: Bools = np.logical_not(has_meeting | is_mixed)
    return is_apart


def _options(
    flows: Ints, columns: Ints, is_there: Bools, links: list[Ints]
) -> tuple[Ints, Ints, Ints]:
    """Return the legs' flows, and for each option its leg and its links."""
    place, column = np.nonzero(is_there[np.ix_(flows, columns)])
    chosen = [kind[flows[place], columns[column]] for kind in links]
    return flows, place, np.stack(chosen, axis=1)


def _assemble(parts: list[tuple[Ints, Ints, Ints]], capacity: Floats) -> Pooling:
    """Return the problem of all options, with the links that they use."""
    width = max(links.shape[1] for _, _, links in parts)
    padded = [np.pad(links, ((0, 0), (0, width - links.shape[1])), constant_values=NONE)
              for _, _, links in parts]  # fmt: skip
    before = np.cumsum([0] + [flows.size for flows, _, _ in parts])
    leg = np.concatenate([leg + before[at] for at, (_, leg, _) in enumerate(parts)])
    links, flow = np.vstack(padded), np.concatenate([flows for flows, _, _ in parts])
    used = np.unique(links[links != NONE])
    number = np.full(capacity.size + 1, NONE)  # the last is NONE's own
    number[used] = np.arange(used.size)
    return Pooling(incidence(number[links], used.size), capacity[used], leg, flow)
