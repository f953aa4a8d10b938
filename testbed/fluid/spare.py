# SPDX-License-Identifier: Apache-2.0
"""Wire spare ports of servers to neighbours in the rack (GRIN, Agache et al., NSDI 2015)."""

from dataclasses import dataclass

import numpy as np

from testbed.errors import PlanError
from testbed.fluid.arrays import NONE, Ints
from testbed.fluid.fabric import Fabric

MAX_SPARE_PORTS = 3


@dataclass(frozen=True)
class Spare:
    """The neighbours of each server, and the cables to and from them.

    Attributes:
        neighbour: servers x spare ports; NONE where a port has no partner.
        cable_to: the link to each neighbour.
        cable_from: the link from each neighbour.
    """

    neighbour: Ints
    cable_to: Ints
    cable_from: Ints


def wire_spare_ports(fabric: Fabric, ports: int, cable_rate: float = 1.0) -> Spare:
    """Add the cables of spare ports to a network.

    With n ports each server gets n neighbours at the same switches: groups of n + 1 that are all
    wired to each other where the servers divide into such groups, and else a ring, with the
    opposite server as the third. With one port and an odd number, the last has no neighbour.

    Args:
        ports: spare ports of a server.
        cable_rate: of a spare cable in each direction, in NICs.
    """
    _, sizes = np.unique(fabric.rack.min(axis=1), return_counts=True)
    size = int(sizes[0])
    _check(ports, size)
    place = np.arange(fabric.servers) % size
    other = _neighbour_places(place[:, None], ports, size)
    neighbour = np.where(other == NONE, NONE, other + (np.arange(fabric.servers) - place)[:, None])
    cable = fabric.add_links("spare", neighbour.shape, cable_rate)
    return Spare(neighbour, np.where(neighbour == NONE, NONE, cable), _back(neighbour, cable))


def _check(ports: int, size: int) -> None:
    if isinstance(ports, bool) or not isinstance(ports, int) or not 0 <= ports <= MAX_SPARE_PORTS:
        raise PlanError(
            f"spare_ports is {ports!r}; give a whole number from 0 to {MAX_SPARE_PORTS}"
        )
    if ports >= size:
        raise PlanError(
            f"spare_ports is {ports}, but a rack has {size} servers, so each of them has "
            f"{size - 1} neighbours at most; use fewer spare ports or larger racks"
        )
    if ports == MAX_SPARE_PORTS and size % 4 and size % 2:
        raise PlanError(
            f"racks of {size} servers cannot be wired with 3 spare ports each; "
            "the number of servers has to be even"
        )


def _neighbour_places(place: Ints, ports: int, size: int) -> Ints:
    """Return the places of neighbours among the servers of a rack; NONE for a port without one."""
    width = ports + 1
    if size % width == 0 or ports <= 1:
        first = place - place % width
        other = first + (place % width + np.arange(1, width)) % width
        return np.where(other < size, other, NONE)
    ring: Ints = (place + np.array([1, -1, size // 2])[:ports]) % size
    return ring


def _back(neighbour: Ints, cable: Ints) -> Ints:
    """Return the link from each neighbour to the server."""
    back = np.full_like(neighbour, NONE)
    for port in range(neighbour.shape[1]):
        other = neighbour[:, port]
        for theirs in range(neighbour.shape[1]):
            is_back = (other != NONE) & (neighbour[other, theirs] == np.arange(len(other)))
            back[is_back, port] = cable[other[is_back], theirs]
    return back
