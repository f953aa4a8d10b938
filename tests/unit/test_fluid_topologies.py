# SPDX-License-Identifier: Apache-2.0
"""The model's networks are the emulation's: every link, its rate, and every way of a subflow.

The emulation's ways are followed hop by hop through the routes of run.json, all next hops of equal
cost; the model's are those that it chooses for many subflows.
"""

import ipaddress

import numpy as np
import pytest

from testbed.fluid.arrays import NONE
from testbed.fluid.routes import cross_paths, route_subflows
from testbed.fluid.spare import wire_spare_ports
from testbed.fluid.topologies import build_fabric
from topologies import TOPOLOGIES

SMALL = {
    "fat_tree": {"k": 4},
    "dual_homed_fat_tree": {"k": 4},
    "vl2": {"ports": 4},
    "leaf_spine": {},
}
CASES = [(name, spare) for name in SMALL for spare in range(4)]
SUBFLOWS, FLOWS = 800, 6


def size(name, spare_ports):
    """Return parameters by which a rack has room for the spare ports."""
    more = {"oversubscription": 2} if spare_ports > 1 and "fat_tree" in name else {}
    return {**SMALL[name], **more}


def emulated(name, spare_ports):
    return TOPOLOGIES[name](**size(name, spare_ports), spare_ports=spare_ports)


def emulated_links(plain, nic_bps):
    """Return both directions of every cable with its rate in NICs."""
    found = {}
    for link in plain["links"]:
        found[link["a"], link["b"]] = link["a_to_b"]["rate_bps"] / nic_bps
        found[link["b"], link["a"]] = link["b_to_a"]["rate_bps"] / nic_bps
    assert len(found) == 2 * len(plain["links"])
    return found


def model_ends(name, fabric, spare):
    """Return where each of the model's links begins and ends, in the emulation's names."""
    rack = {"leaf_spine": "l{}", "vl2": "t{}"}.get(name, "e{}.{}")
    half = getattr(fabric, "half", 1)
    racks = [rack.format(*(divmod(r, half) if "." in rack else (r,)))
             for r in range(fabric.rack_rate.size)]  # fmt: skip
    found = {}

    def both(up, down, low, high):
        found[int(up)], found[int(down)] = (low, high), (high, low)

    for server, ports in enumerate(fabric.rack):
        for port, r in enumerate(ports):
            both(fabric.uplink[server, port], fabric.downlink[server, port], f"h{server}", racks[r])
    for server, others in enumerate(spare.neighbour):
        for port, other in enumerate(others):
            if other != NONE:
                found[int(spare.cable_to[server, port])] = (f"h{server}", f"h{other}")
    if name == "leaf_spine":
        for (r, s), up in np.ndenumerate(fabric.up):
            both(up, fabric.down[r, s], racks[r], f"s{s}")
    elif name == "vl2":
        for (r, side), up in np.ndenumerate(fabric.rack_up):
            above = f"a{(2 * r + side) % fabric.ports}"
            both(up, fabric.rack_down[r, side], racks[r], above)
        for (a, i), up in np.ndenumerate(fabric.core_up):
            both(up, fabric.core_down[a, i], f"a{a}", f"i{i}")
    else:
        for (r, a), up in np.ndenumerate(fabric.edge_up):
            both(up, fabric.edge_down[r, a], racks[r], f"a{r // half}.{a}")
        for (pod, a, c), up in np.ndenumerate(fabric.core_up):
            both(up, fabric.core_down[pod, a, c], f"a{pod}.{a}", f"c{a * half + c}")
    return found


class Routes:
    """The routes of run.json, followed as the kernel does."""

    def __init__(self, plain):
        self._routes, self._rules = plain["routes"], plain["rules"]
        self._own = {n: {one["address"] for one in more} for n, more in plain["addresses"].items()}
        self._node_of = {}
        for link in plain["links"]:
            for side in "ab":
                self._node_of[link[f"{side}_address"]] = link[side]

    def ways(self, node, source, destination):
        """Yield the links of each way, as pairs of nodes."""
        if destination in self._own.get(node, ()):
            yield ()
            return
        for hop in self._next_hops(node, source, destination):
            other = self._node_of[hop["gateway"]]
            for rest in self.ways(other, source, destination):
                yield ((node, other), *rest)

    def _next_hops(self, node, source, destination):
        tables = [rule["table"] for rule in self._rules.get(node, []) if rule["from"] == source]
        for table in [*tables, None]:
            fitting = [
                entry
                for entry in self._routes[node]
                if entry.get("table") == table
                and ipaddress.ip_address(destination)
                in ipaddress.ip_network(f"{entry['destination']}/{entry['prefix_length']}")
            ]
            if fitting:
                best = max(fitting, key=lambda entry: entry["prefix_length"])
                return best.get("next_hops") or [best]
        raise AssertionError(f"{node} has no route to {destination}")


def pairs_of(servers):
    """Return some flows: in a rack, and between others."""
    chance = np.random.default_rng(1)
    ends = [(0, 1)] + [tuple(chance.choice(servers, 2, replace=False)) for _ in range(FLOWS - 1)]
    source, destination = np.array(ends).T
    order = np.argsort(source, kind="stable")
    return source[order], destination[order]


@pytest.mark.parametrize(("name", "spare_ports"), CASES)
def test_links_and_rates_are_the_same(name, spare_ports):
    network = emulated(name, spare_ports)
    fabric = build_fabric(name, size(name, spare_ports))
    spare = wire_spare_ports(fabric, spare_ports)
    ends = model_ends(name, fabric, spare)

    rates = {ends[number]: fabric.capacity[number] for number in ends}
    assert len(rates) == len(ends)
    assert rates == emulated_links(network.plain(), network.nic_bps)
    unused = [n for n in range(fabric.capacity.size) if n not in ends]
    assert all(fabric.kinds[fabric.kind[number]] == "spare" for number in unused)


@pytest.mark.parametrize(("name", "spare_ports"), CASES)
def test_subflows_have_the_same_ways(name, spare_ports):
    network = emulated(name, spare_ports)
    routes = Routes(network.plain())
    fabric = build_fabric(name, size(name, spare_ports))
    spare = wire_spare_ports(fabric, spare_ports)
    ends = model_ends(name, fabric, spare)
    source, destination = pairs_of(fabric.servers)
    paths = cross_paths(fabric, spare, source, destination)
    chosen = route_subflows(fabric, paths, source, np.full(source.size, SUBFLOWS), 1)
    crossing = chosen.crossing.tocsc()
    model = [set() for _ in source]
    for at, flow in enumerate(chosen.flow):
        links = crossing.indices[crossing.indptr[at] : crossing.indptr[at + 1]]
        model[flow].add(frozenset(ends[int(link)] for link in links))
    for flow, (one, other) in enumerate(zip(source, destination, strict=True)):
        mine, theirs = network.server_ports[f"h{one}"], network.server_ports[f"h{other}"]
        reached = [theirs[0].local[0], *(a for port in theirs for a in port.announced)]
        wanted = {
            frozenset(way)
            for port in mine
            for address in reached
            for way in routes.ways(f"h{one}", port.local[0], address)
        }
        assert model[flow] == wanted
