# SPDX-License-Identifier: Apache-2.0
"""Datacenter networks as arrays: fat tree, dual-homed fat tree, VL2, leaf and spine."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature

import numpy as np

from testbed.errors import PlanError
from testbed.fluid.arrays import NONE, Ints, Keys
from testbed.fluid.ecmp import choose
from testbed.fluid.fabric import Fabric, check_even, check_whole


class FatTree(Fabric):
    """k pods of k/2 racks of k/2 servers, and (k/2)^2 core switches (Al-Fares et al., 2008).

    Args:
        k: ports of a switch.
        oversubscription: servers per rack, in parts of those with full bisection.
    """

    name = "fat_tree"

    def __init__(self, k: int = 4, oversubscription: int = 1) -> None:
        super().__init__()
        check_whole(self.name, "k", k, 2)
        check_whole(self.name, "oversubscription", oversubscription, 1)
        check_even(self.name, "k", k)
        self.half = half = k // 2
        self.add_servers(self.racks_of_servers(oversubscription))
        self.edge_up = self.add_links("edge-aggregation", (k * half, half))
        self.edge_down = self.add_links("aggregation-edge", (k * half, half))
        self.core_up = self.add_links("aggregation-core", (k, half, half))
        self.core_down = self.add_links("core-aggregation", (k, half, half))
        self.rack_rate = np.full(k * half, float(half))

    def racks_of_servers(self, oversubscription: int) -> Ints:
        """Return the racks of each server's ports: servers x ports."""
        racks = np.arange(2 * self.half * self.half)
        return np.repeat(racks, self.half * oversubscription)[:, None]

    def between_racks(self, start: Ints, end: Ints, keys: Keys) -> Ints:
        """Go up by hash, at the rack's switch and at the pod's, and down by the only way."""
        edges = self.edge_up.shape[0]
        first_pod, last_pod = start // self.half, end // self.half
        plane = choose(keys, start, self.half)
        core = choose(keys, edges + first_pod * self.half + plane, self.half)
        links = np.stack([self.edge_up[start, plane], self.core_up[first_pod, plane, core],
                          self.core_down[last_pod, plane, core], self.edge_down[end, plane]],
                         axis=1)  # fmt: skip
        links[first_pod == last_pod, 1:3] = NONE
        links[start == end] = NONE
        return links


class DualHomedFatTree(FatTree):
    """A fat tree whose servers have ports at two racks' switches (Raiciu et al., SIGCOMM 2011).

    As many switches as in a fat tree and two ports per server, so half as many servers. Every
    second server has its first port at the second switch.

    Args:
        k: ports of a switch, a multiple of 4.
        oversubscription: servers per pair of racks, in parts of k/2.
    """

    name = "dual_homed_fat_tree"

    def racks_of_servers(self, oversubscription: int) -> Ints:
        """Return the racks of each server's two ports."""
        if self.half % 2:
            raise PlanError(f"{self.name}: k is {2 * self.half}; give a multiple of 4")
        pair, number = np.divmod(
            np.arange(self.half**2 * self.half * oversubscription), self.half * oversubscription
        )
        first = 2 * pair + number % 2
        return np.stack([first, first ^ 1], axis=1)


class LeafSpine(Fabric):
    """Racks with a link to every spine switch; all links have one rate.

    Args:
        servers_per_leaf: with more of them than spines the core is oversubscribed.
    """

    name = "leaf_spine"

    def __init__(self, leaves: int = 4, spines: int = 4, servers_per_leaf: int = 4) -> None:
        super().__init__()
        check_whole(self.name, "leaves", leaves, 1)
        check_whole(self.name, "spines", spines, 1)
        check_whole(self.name, "servers_per_leaf", servers_per_leaf, 1)
        self.spines = spines
        self.add_servers(np.repeat(np.arange(leaves), servers_per_leaf)[:, None])
        self.up = self.add_links("leaf-spine", (leaves, spines))
        self.down = self.add_links("spine-leaf", (leaves, spines))
        self.rack_rate = np.full(leaves, float(spines))

    def between_racks(self, start: Ints, end: Ints, keys: Keys) -> Ints:
        """Go over the spine that the leaf's hash says."""
        spine = choose(keys, start, self.spines)
        links = np.stack([self.up[start, spine], self.down[end, spine]], axis=1)
        links[start == end] = NONE
        return links


class Vl2(Fabric):
    """Racks with two fast links up to aggregation, and a full mesh to intermediate switches.

    As in Greenberg et al., 2009: `ports` aggregation switches, half as many intermediate ones,
    ports^2 / 4 racks.

    Args:
        ports: of aggregation and intermediate switches.
        servers_per_rack: with 2 x fabric_speedup of them there is full bisection.
        fabric_speedup: rate of the links between switches, in NICs; 10 in the paper.
    """

    name = "vl2"

    def __init__(self, ports: int = 4, servers_per_rack: int = 4, fabric_speedup: int = 2) -> None:
        super().__init__()
        check_whole(self.name, "ports", ports, 2)
        check_even(self.name, "ports", ports)
        check_whole(self.name, "servers_per_rack", servers_per_rack, 1)
        check_whole(self.name, "fabric_speedup", fabric_speedup, 1)
        self.ports, self.racks, rate = ports, ports * ports // 4, float(fabric_speedup)
        self.add_servers(np.repeat(np.arange(self.racks), servers_per_rack)[:, None])
        self.rack_up = self.add_links("rack-aggregation", (self.racks, 2), rate)
        self.rack_down = self.add_links("aggregation-rack", (self.racks, 2), rate)
        self.core_up = self.add_links("aggregation-intermediate", (ports, ports // 2), rate)
        self.core_down = self.add_links("intermediate-aggregation", (ports, ports // 2), rate)
        self.rack_rate = np.full(self.racks, 2 * rate)

    def between_racks(self, start: Ints, end: Ints, keys: Keys) -> Ints:
        """Go up by hash until a switch that is above the other rack, and down.

        Two racks may have both aggregation switches in common; traffic goes over an intermediate
        switch only if the one that it meets first is not above the other rack.
        """
        up = choose(keys, start, 2)
        first = (2 * start + up) % self.ports
        middle = choose(keys, self.racks + first, self.ports // 2)
        down = choose(keys, self.racks + self.ports + middle, 2)
        is_near = end % (self.ports // 2) == first // 2
        down = np.where(is_near, first % 2, down)
        last = (2 * end + down) % self.ports
        links = np.stack([self.rack_up[start, up], self.core_up[first, middle],
                          self.core_down[last, middle], self.rack_down[end, down]],
                         axis=1)  # fmt: skip
        links[is_near, 1:3] = NONE
        links[start == end] = NONE
        return links


TOPOLOGIES: dict[str, type[Fabric]] = {
    kind.name: kind for kind in (FatTree, DualHomedFatTree, Vl2, LeafSpine)
}


def build_fabric(name: str, parameters: Mapping[str, int]) -> Fabric:
    """Return the network of that name; a wrong name or parameter is refused with a sentence."""
    if name not in TOPOLOGIES:
        raise PlanError(f'the fluid model has no topology "{name}"; {_known(name, TOPOLOGIES)}')
    build: Callable[..., Fabric] = TOPOLOGIES[name]
    known = signature(build).parameters
    for parameter in parameters:
        if parameter not in known:
            raise PlanError(f'{name} has no parameter "{parameter}"; {_known(parameter, known)}')
    return build(**parameters)


def _known(word: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(word, known, 1)
    return f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}"
