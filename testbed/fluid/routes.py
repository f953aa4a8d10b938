# SPDX-License-Identifier: Apache-2.0
"""The cross paths of connections, and the links that each of their subflows crosses.

A server leaves by a port of its own, or over a spare cable and a neighbour's port, and is reached
likewise; of a neighbour only the first port is used. Each pair of such a way out and a way in is a
cross path. Where the two meet at one server (the neighbour on the way out is the other end, that on
the way in is the sender, or a neighbour of both forwards), cables are the whole way: a server has
routes to its neighbours.
"""

from dataclasses import dataclass, replace

import numpy as np

from testbed.fluid.arrays import NONE, Bools, Ints, Sparse, incidence
from testbed.fluid.ecmp import subflow_keys
from testbed.fluid.fabric import Fabric
from testbed.fluid.spare import Spare


@dataclass(frozen=True)
class Ways:
    """Ways out of servers, or ways in: servers x ways.

    Attributes:
        relay: the server whose port is used; NONE if there is no such way.
        cable: the spare cable between the server and the relay, NONE if they are the same.
        port: the link between the relay and its rack's switch.
        rack: that switch.
    """

    relay: Ints
    cable: Ints
    port: Ints
    rack: Ints


@dataclass(frozen=True)
class CrossPaths:
    """Every cross path of every flow: arrays of flows x cross paths, first those that share least.

    Attributes:
        is_there: false where a server has fewer neighbours than others.
        out_cable, in_cable: spare cables at the ends, NONE where there is none.
        out_port, in_port: links to and from the switches; not used where `meets`.
        start, end: racks between which the fabric is crossed; equal where it is not.
        meets: whether cables are the whole way.
        leaves_by_end: whether the neighbour on the way out is the other end.
        comes_by_start: whether the neighbour on the way in is the sender.
        way_out, way_in: which way out and in it is, one for each column.
    """

    is_there: Bools
    out_cable: Ints
    out_port: Ints
    in_port: Ints
    in_cable: Ints
    start: Ints
    end: Ints
    meets: Bools
    leaves_by_end: Bools
    comes_by_start: Bools
    way_out: Ints
    way_in: Ints

    def restrict(self, is_plain: Bools) -> "CrossPaths":
        """Return the cross paths with those of some flows left to the first, as plain TCP has."""
        is_first = np.arange(self.way_out.size) == 0
        return replace(self, is_there=self.is_there & (is_first | ~is_plain[:, None]))


@dataclass(frozen=True)
class Routes:
    """What the subflows of all flows cross.

    Attributes:
        crossing: links x subflows, 1 where a subflow crosses a link.
        flow: the flow of each subflow, ascending.
        relays: of each subflow, whether a neighbour forwards it at either end.
    """

    crossing: Sparse
    flow: Ints
    relays: Bools


def cross_paths(fabric: Fabric, spare: Spare, source: Ints, destination: Ints) -> CrossPaths:
    """Return the cross paths of flows between these servers."""
    out = _ways(fabric, spare, source, fabric.uplink, spare.cable_to)
    into = _ways(fabric, spare, destination, fabric.downlink, spare.cable_from)
    i, j = _diagonal_order(out.relay.shape[1], into.relay.shape[1])
    start_relay, end_relay = out.relay[:, i], into.relay[:, j]
    out_cable, in_cable = out.cable[:, i], into.cable[:, j]
    at_end = start_relay == destination[:, None]
    # A sender that forwards for the other end has the cable to it as its only route.
    by_start = end_relay == source[:, None]
    meets = at_end | by_start | (start_relay == end_relay)
    out_cable = np.where(by_start & ~at_end, NONE, out_cable)
    in_cable = np.where(at_end, NONE, in_cable)
    start, end = out.rack[:, i], into.rack[:, j]
    return CrossPaths(
        is_there=(start_relay != NONE) & (end_relay != NONE),
        out_cable=out_cable,
        out_port=out.port[:, i],
        in_port=into.port[:, j],
        in_cable=in_cable,
        start=start,
        end=np.where(meets, start, end),
        meets=meets,
        leaves_by_end=at_end,
        comes_by_start=by_start,
        way_out=i,
        way_in=j,
    )


def route_subflows(
    fabric: Fabric, paths: CrossPaths, source: Ints, subflows: Ints, seed: int
) -> Routes:
    """Put subflows on every cross path, and let each take its own way through the fabric by hash.

    Args:
        subflows: of each flow, on each of its cross paths.
    """
    flow, column, number = _deal(paths.is_there, subflows)
    keys = subflow_keys(source[flow], number, seed)
    middle = fabric.between_racks(paths.start[flow, column], paths.end[flow, column], keys)
    first, last = paths.out_cable[flow, column], paths.in_cable[flow, column]
    meets = paths.meets[flow, column]
    up = np.where(meets, NONE, paths.out_port[flow, column])
    down = np.where(meets, NONE, paths.in_port[flow, column])
    links = np.column_stack([first, up, middle, down, last])
    relays = (first != NONE) | (last != NONE)
    return Routes(incidence(links, fabric.capacity.size), flow, relays)


def _ways(fabric: Fabric, spare: Spare, server: Ints, port: Ints, cable: Ints) -> Ways:
    """Return the ways of servers: by their own ports, then by each neighbour's first."""
    own = np.broadcast_to(server[:, None], (server.size, port.shape[1]))
    others, cables = spare.neighbour[server], cable[server]
    return Ways(
        relay=np.hstack([own, others]),
        cable=np.hstack([np.full(own.shape, NONE), cables]),
        port=np.hstack([port[server], port[others, 0]]),
        rack=np.hstack([fabric.rack[server], fabric.rack[others, 0]]),
    )


def _diagonal_order(out: int, into: int) -> tuple[Ints, Ints]:
    """Return all pairs; the first ones share neither a way out nor a way in."""
    i, j = np.divmod(np.arange(out * into), into)
    order = np.lexsort((i, (j - i) % into))
    return i[order], j[order]


def _deal(is_there: Bools, subflows: Ints) -> tuple[Ints, Ints, Ints]:
    """Return flow, cross path and number of every subflow."""
    paths = is_there.sum(axis=1)
    in_order = np.argsort(~is_there, axis=1, kind="stable")
    each = paths * subflows
    flow = np.repeat(np.arange(paths.size), each)
    number = np.arange(flow.size) - np.repeat(np.cumsum(each) - each, each)
    return flow, in_order[flow, number % paths[flow]], number
