# SPDX-License-Identifier: Apache-2.0
"""The base of all topologies: a Mininet topology with typed links and named paths.

Addresses go by rule: the n-th link is the network 10.<n / 256>.<n % 256>.0/24 with .1 on the
side that was named second and .2 on the side that was named first. Routes are the shortest
ones, by number of links, of those that pass the fewest hosts, because hosts do not forward.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from mininet.topo import Topo

from testbed.errors import PlanError
from testbed.topology import routes
from testbed.topology.link import PREFIX_LENGTH
from testbed.topology.link import Direction as Direction
from testbed.topology.link import Link as Link
from testbed.topology.mininet_node import mininet_node, node_commands, tc_parameters

# The kernel's IFNAMSIZ less the terminating zero.
MAX_INTERFACE_NAME = 15
HOST, ROUTER = "host", "router"
MOST_NAMED = 12  # in a sentence


class Topology(Topo):  # type: ignore[misc]  # Mininet is not typed
    """A description of a network; subclasses add nodes, links and paths in `build`."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        self.kinds: dict[str, str] = {}
        self.paths: list[dict[str, Any]] = []
        self._links: dict[str, Link] = {}
        self._links_of: dict[str, list[str]] = {}
        self._interfaces: set[tuple[str, str]] = set()
        self._first_links: dict[str, str] = {}
        self._mininet_links: dict[str, dict[str, Any]] = {}
        super().__init__(*args, **parameters)

    @property
    def typed_links(self) -> list[Link]:
        """The links in the order in which they were added."""
        return list(self._links.values())

    def add_host(self, name: str) -> str:
        """Add a node that is an end of connections."""
        return self._add_node(name, HOST)

    def add_router(self, name: str) -> str:
        """Add a node that forwards."""
        return self._add_node(name, ROUTER)

    def _add_node(self, name: str, kind: str) -> str:
        if name in self.kinds:
            raise PlanError(f'two nodes are called "{name}"; give each a name of its own')
        self.kinds[name] = kind
        self._links_of[name] = []
        node = self.addHost(
            name, ip=None, cls=mininet_node, commands=partial(self._mininet_commands, name)
        )
        return str(node)

    def add_link(
        self,
        name: str,
        a: str,
        b: str,
        *,
        a_interface: str = "",
        b_interface: str = "",
        a_to_b: Direction | None = None,
        b_to_a: Direction | None = None,
        mtu_bytes: int | None = None,
    ) -> Link:
        """Connect two nodes.

        Args:
            name: what events, figures and results call it.
            a_interface, b_interface: at most 15 characters; "<node>-<other>" by default.
            a_to_b, b_to_a: properties; a cable without properties by default.
            mtu_bytes: more than 1500 where tunnels are to fit.
        """
        self._check_link(name, a, b)
        network = len(self._links) + 1
        prefix = _network_prefix(network)
        link = Link(
            name,
            a,
            b,
            _interface_name(a_interface or f"{a}-{b}"),
            _interface_name(b_interface or f"{b}-{a}"),
            f"{prefix}.2",
            f"{prefix}.1",
            a_to_b or Direction(),
            b_to_a or Direction(),
            mtu_bytes=mtu_bytes,
        )
        self._take_interfaces(link)
        self._links[name] = link
        for node in (a, b):
            self._links_of[node].append(name)
        key = self.addLink(a, b, intfName1=link.a_interface, intfName2=link.b_interface)
        self._mininet_links[name] = self.linkInfo(a, b, key)
        self._tell_mininet(link)
        return link

    def _tell_mininet(self, link: Link) -> None:
        self._mininet_links[link.name].update(
            params1={"ip": f"{link.a_address}/{PREFIX_LENGTH}", **tc_parameters(link.a_to_b)},
            params2={"ip": f"{link.b_address}/{PREFIX_LENGTH}", **tc_parameters(link.b_to_a)},
        )

    def _mininet_commands(self, node: str) -> list[str]:
        ways_out = []
        for path in self.paths:
            if path["node"] == node:
                link = self._links[self._first_links[path["name"]]]
                gateway = link.b_address if node == link.a else link.a_address
                ways_out.append((path["interface"], path["address"], gateway))
        return node_commands(self.kinds[node] == ROUTER, list(self._routes(node)), ways_out)

    def _check_link(self, name: str, a: str, b: str) -> None:
        for node in (a, b):
            self._check_node(node, f'the link "{name}" ends at')
        if a == b:
            raise PlanError(f'the link "{name}" connects "{a}" with itself')
        if name in self._links:
            raise PlanError(f'two links are called "{name}"; give each a name of its own')

    def _check_node(self, node: str, who: str) -> None:
        if node not in self.kinds:
            raise PlanError(f'{who} "{node}", which is not a node{near_miss(node, self.kinds)}')

    def _take_interfaces(self, link: Link) -> None:
        ends = ((link.a, link.a_interface), (link.b, link.b_interface))
        for node, interface in ends:
            if (node, interface) in self._interfaces:
                raise PlanError(
                    f'two interfaces of the node "{node}" are called "{interface}"; '
                    f'name the one of the link "{link.name}" differently'
                )
        self._interfaces.update(ends)

    def shape(
        self,
        link_name: str,
        a_to_b: Direction | None = None,
        b_to_a: Direction | None = None,
    ) -> Link:
        """Replace the properties of a link, of one direction or both.

        Raises:
            PlanError: there is no such link.
        """
        link = self._links.get(link_name)
        if link is None:
            raise PlanError(
                f'"{link_name}" is not a link of this network{near_miss(link_name, self._links)}'
            )
        shaped = replace(link, a_to_b=a_to_b or link.a_to_b, b_to_a=b_to_a or link.b_to_a)
        self._links[link_name] = shaped
        self._tell_mininet(shaped)
        return shaped

    def first_link(self, path_name: str) -> str:
        """Return the name of the link by which a path leaves its client."""
        return self._first_links[path_name]

    def add_path(self, name: str, node: str, link: Link, to: str) -> None:
        """Name the path that a client's connections take when they leave by a link.

        Args:
            name: what events, figures and results call it.
            node: the client.
            link: the first link.
            to: the node at the far end.
        """
        if node not in (link.a, link.b):
            raise PlanError(
                f'the path "{name}" leaves "{node}" by the link "{link.name}", '
                f'which connects "{link.a}" and "{link.b}"'
            )
        if name in self._first_links:
            raise PlanError(f'two paths are called "{name}"; give each a name of its own')
        self._check_node(to, f'the path "{name}" leads to')
        interface, address = (
            (link.a_interface, link.a_address)
            if node == link.a
            else (link.b_interface, link.b_address)
        )
        self._first_links[name] = link.name
        self.paths.append(
            {"name": name, "node": node, "interface": interface, "address": address, "to": to}
        )

    def plain(self) -> dict[str, Any]:
        """Return the topology as plain data, for run.json.

        Raises:
            PlanError: the network is not connected.
        """
        return {
            "nodes": [{"name": name, "kind": kind} for name, kind in self.kinds.items()],
            "links": [asdict(link) for link in self.typed_links],
            "paths": [
                {**path, "addresses": [path["address"]], "hops": self._hops(path)}
                for path in self.paths
            ],
            "routes": {name: list(self._routes(name)) for name in self.kinds},
        }

    def _hops(self, path: dict[str, Any]) -> list[list[str]]:
        """Return the links of a path and their directions, as the routes lead."""
        start, to = path["node"], path["to"]
        link = self._links[self._first_links[path["name"]]]
        hops, here = [[link.name, link.direction_from(start)]], link.other(start)
        way = self._ways(here).get(to)
        while here not in (to, start) and way is not None:
            link = self._next_link(here, self._links[way.last])
            hops.append([link.name, link.direction_from(here)])
            here = link.other(here)
        if here != to:
            raise PlanError(
                f'the path "{path["name"]}" leaves "{start}" by the link "{hops[0][0]}", '
                f'from where "{to}" cannot be reached'
            )
        return hops

    def _next_link(self, node: str, destination: Link) -> Link:
        if node in (destination.a, destination.b):
            return destination
        return self._links[routes.way_onto(destination, self._ways(node), self._is_host).first]

    def _ways(self, node: str) -> dict[str, routes.Way]:
        return routes.ways(
            node,
            lambda here: (self._links[name] for name in self._links_of[here]),
            self._is_host,
        )

    def _is_host(self, node: str) -> bool:
        return self.kinds[node] == HOST

    def _routes(self, node: str) -> Iterator[dict[str, Any]]:
        """Yield the routes of a node: to every network that is not its own, by the next hop.

        A node with named paths has none: its routes come and go with its addresses.
        """
        if any(path["node"] == node for path in self.paths):
            return
        hops = {}
        ways = self._ways(node)
        for network, link in enumerate(self._links.values(), 1):
            if node in (link.a, link.b):
                continue
            if link.a not in ways:
                raise PlanError(f'the node "{node}" cannot reach the link "{link.name}"')
            hops[network] = routes.way_onto(link, ways, self._is_host).first
        for network, prefix_length, hop in routes.prefixes(hops):
            yield _route(node, self._links[hop], network, prefix_length)


def _route(node: str, hop: Link, network: int, prefix_length: int) -> dict[str, Any]:
    is_a = node == hop.a
    return {
        "destination": f"{_network_prefix(network)}.0",
        "prefix_length": prefix_length,
        "interface": hop.a_interface if is_a else hop.b_interface,
        "gateway": hop.b_address if is_a else hop.a_address,
    }


def _network_prefix(network: int) -> str:
    return f"10.{network // 256}.{network % 256}"


def _interface_name(name: str) -> str:
    if len(name) > MAX_INTERFACE_NAME:
        raise PlanError(
            f'the interface name "{name}" has more than {MAX_INTERFACE_NAME} characters; '
            "shorten it or the names of its nodes"
        )
    return name


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant, as a remark, or else all if they are few."""
    names = list(known)
    if near := get_close_matches(name, names, n=1, cutoff=0.7):
        return f' (did you mean "{near[0]}"?)'
    return f" (there are {', '.join(names)})" if 0 < len(names) <= MOST_NAMED else ""
