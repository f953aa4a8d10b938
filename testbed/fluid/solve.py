# SPDX-License-Identifier: Apache-2.0
"""Solve a case: build the network, draw the traffic, route the subflows, find the equilibrium."""

import numpy as np
import scipy.sparse as sp

from testbed.errors import PlanError
from testbed.fluid.arrays import NONE, Bools, Floats, Ints, group_starts
from testbed.fluid.case import MPTCP, TCP, FluidCase, FluidResult
from testbed.fluid.control import CONTROLS, OLIA
from testbed.fluid.equilibrium import Equilibrium, equilibrium
from testbed.fluid.fabric import Fabric
from testbed.fluid.oracle import optimum_rates, pooled_port_rates
from testbed.fluid.pooled_control import pooled_equilibrium
from testbed.fluid.routes import CrossPaths, Routes, cross_paths, route_subflows
from testbed.fluid.spare import Spare, wire_spare_ports
from testbed.fluid.topologies import build_fabric
from testbed.fluid.traffic import check_pairs, permutation

MAX_SUBFLOWS = 65  # Linux 7.3: the first, and 64 more


def solve(case: FluidCase) -> FluidResult:
    """Return what the model says of a case; the same case gives the same answer.

    Raises:
        PlanError: the case is wrong; one sentence says where and what to do.
    """
    _check(case)
    fabric = build_fabric(case.topology, case.parameters)
    spare = wire_spare_ports(fabric, case.spare_ports)
    source, destination = _traffic(case, fabric.servers)
    paths = cross_paths(fabric, spare, source, destination)
    each = _subflows_per_path(case, paths)
    is_tcp = _plain_flows(case, source)
    paths = paths.restrict(is_tcp)
    routes = route_subflows(fabric, paths, source, np.where(is_tcp, 1, each), case.seed)
    found = _equilibrium(case, routes, fabric.capacity)
    return FluidResult(
        case=case,
        servers=fabric.servers,
        source=source,
        destination=destination,
        goodput=np.add.reduceat(found.rate, group_starts(routes.flow)) * case.payload_fraction,
        optimum=optimum_rates(fabric, paths),
        oracle=pooled_port_rates(fabric, paths),
        is_lender=_lenders(spare, source, destination, is_tcp),
        is_tcp=is_tcp,
        subflows=np.bincount(routes.flow),
        utilisation=_utilisation(fabric, routes.crossing @ found.rate),
        rounds=found.rounds,
        residual=found.residual,
    )


def _check(case: FluidCase) -> None:
    if case.transport not in (MPTCP, TCP):
        raise PlanError(f'transport is "{case.transport}"; give "{MPTCP}" or "{TCP}"')
    if case.cc not in CONTROLS:
        raise PlanError(
            f'the fluid model has no congestion control "{case.cc}"; '
            f"there are {', '.join(CONTROLS)}"
        )
    if not isinstance(case.subflows, int) or case.subflows < 1:
        raise PlanError(f"subflows is {case.subflows!r}; a connection has at least 1")
    if not 0 <= case.tcp_fraction <= 1:
        raise PlanError(f"tcp_fraction is {case.tcp_fraction!r}; it is from 0 to 1")
    if not 0 < case.payload_fraction <= 1:
        raise PlanError(f"payload_fraction is {case.payload_fraction!r}; it is above 0 and up to 1")


def _subflows_per_path(case: FluidCase, paths: CrossPaths) -> int:
    """Return how many subflows each pair of ports of two servers has."""
    pairs = int(paths.is_there.shape[1])
    each = -(-case.subflows // pairs)
    if each * pairs > MAX_SUBFLOWS:
        raise PlanError(
            f"subflows is {case.subflows}, of which each of {pairs} pairs of ports would have "
            f"{each}; the kernel allows {MAX_SUBFLOWS} per connection"
        )
    return each


def _traffic(case: FluidCase, servers: int) -> tuple[Ints, Ints]:
    if case.pairs is None:
        return permutation(servers, case.active_fraction, case.seed)
    return check_pairs(case.pairs, servers)


def _equilibrium(case: FluidCase, routes: Routes, capacity: Floats) -> Equilibrium:
    """Return the equilibrium on the links that any subflow crosses."""
    used = np.flatnonzero(np.diff(routes.crossing.indptr))
    crossing = sp.csr_array(routes.crossing[used])
    # Linked control of a single subflow is Reno's; so all laws agree on plain TCP.
    if case.cc == OLIA and case.transport == MPTCP:
        return pooled_equilibrium(crossing, capacity[used], routes.flow)
    control = "reno" if case.cc == OLIA else case.cc
    return equilibrium(crossing, capacity[used], routes.flow, control)


def _plain_flows(case: FluidCase, source: Ints) -> Bools:
    """Return which flows are plain TCP."""
    if case.transport == TCP:
        return np.ones(source.size, dtype=bool)
    if case.tcp_senders is not None:
        return np.isin(source, list(case.tcp_senders))
    order = np.random.default_rng([case.seed, 1]).permutation(source.size)
    plain: Bools = order < round(case.tcp_fraction * source.size)
    return plain


def _lenders(spare: Spare, source: Ints, destination: Ints, is_tcp: Bools) -> Bools:
    """Return which senders have a neighbour that may use their uplink to reach another server."""
    goal = np.full(spare.neighbour.shape[0] + 1, NONE)  # the last is NONE's own
    goal[source[~is_tcp]] = destination[~is_tcp]
    goals = goal[spare.neighbour[source]]
    borrows = (goals != NONE) & (goals != source[:, None])
    lends: Bools = np.logical_or.reduce(borrows, axis=1)
    return lends


def _utilisation(fabric: Fabric, load: Floats) -> dict[str, Floats]:
    share, kind = load / fabric.capacity, fabric.kind
    return {name: share[kind == number] for number, name in enumerate(fabric.kinds)}
