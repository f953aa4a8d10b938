# SPDX-License-Identifier: Apache-2.0
"""The base of all topologies: a Mininet topology with typed links and named paths.

Addresses go by rule: the n-th link is the network 10.<n / 256>.<n % 256>.0/24 with .1 on the
side that was named second and .2 on the side that was named first. Routes are the shortest
ones, by number of links, of those that pass the fewest hosts, because hosts do not forward.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from heapq import heappop, heappush
from typing import Any, NamedTuple

from mininet.topo import Topo

from testbed.errors import PlanError

# The kernel's IFNAMSIZ less the terminating zero.
MAX_INTERFACE_NAME = 15
PREFIX_LENGTH = 24

# A node with more routes than this gets as few as say the same; one per network reads better.
MAX_ROUTES = 64
HOST, ROUTER = "host", "router"


@dataclass(frozen=True)
class Direction:
    """One direction of a link.

    Attributes:
        rate_bps: bit/s of IP packets; None takes no time.
        one_way_delay_s: propagation delay, after the bottleneck queue.
        queue_bytes: limit of that queue; None is as good as none.
        loss_fraction: independent loss of packets.
        trace: {"file", "offset_s", "opportunities_ms", "period_ms"} instead of a rate.
    """

    rate_bps: int | None = None
    one_way_delay_s: float = 0.0
    queue_bytes: int | None = None
    loss_fraction: float = 0.0
    trace: dict[str, Any] | None = None


@dataclass(frozen=True)
class Link:
    """A link between the nodes a and b; the first is the one nearer to the client."""

    name: str
    a: str
    b: str
    a_interface: str
    b_interface: str
    a_address: str
    b_address: str
    a_to_b: Direction = field(default_factory=Direction)
    b_to_a: Direction = field(default_factory=Direction)
    prefix_length: int = PREFIX_LENGTH

    def other(self, node: str) -> str:
        """Return the node at the other end."""
        return self.b if node == self.a else self.a

    def direction_from(self, node: str) -> str:
        """Return which direction leads away from a node."""
        return "a_to_b" if node == self.a else "b_to_a"


class _Way(NamedTuple):
    """The best way from one node to another; of two, the lesser is the better one."""

    hosts_passed: int
    links: int
    order: int
    node: str
    first: str
    last: str


class Topology(Topo):  # type: ignore[misc]  # Mininet is not typed
    """A description of a network; subclasses add nodes, links and paths in `build`."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        self.kinds: dict[str, str] = {}
        self.paths: list[dict[str, Any]] = []
        self._links: dict[str, Link] = {}
        self._links_of: dict[str, list[str]] = {}
        self._interfaces: set[tuple[str, str]] = set()
        self._first_links: dict[str, str] = {}
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
        return str(self.addHost(name, ip=None))

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
    ) -> Link:
        """Connect two nodes.

        Args:
            name: what events, figures and results call it.
            a_interface, b_interface: at most 15 characters; "<node>-<other>" by default.
            a_to_b, b_to_a: properties; a cable without properties by default.
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
        )
        self._take_interfaces(link)
        self._links[name] = link
        for node in (a, b):
            self._links_of[node].append(name)
        self.addLink(
            a,
            b,
            intfName1=link.a_interface,
            intfName2=link.b_interface,
            params1={"ip": f"{link.a_address}/{PREFIX_LENGTH}"},
            params2={"ip": f"{link.b_address}/{PREFIX_LENGTH}"},
        )
        return link

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
        ways = self._ways(node)
        return self._links[min(ways[side] for side in (destination.a, destination.b)).first]

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
            hops[network] = min(ways[link.a], ways[link.b]).first
        for network, prefix_length, hop in _prefixes(hops):
            yield _route(node, self._links[hop], network, prefix_length)

    def _ways(self, start: str) -> dict[str, _Way]:
        """Return the best way to every other node that can be reached."""
        found: dict[str, _Way] = {}
        heap = [_Way(0, 0, 0, start, "", "")]
        order = 0
        while heap:
            way = heappop(heap)
            if way.node in found:
                continue
            found[way.node] = way
            passed = way.hosts_passed + (way.links > 0 and self.kinds[way.node] == HOST)
            for name in self._links_of[way.node]:
                other = self._links[name].other(way.node)
                if other not in found:
                    order += 1
                    heappush(
                        heap,
                        _Way(passed, way.links + 1, order, other, way.first or name, name),
                    )
        del found[start]
        return found


def _prefixes(hops: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield the routes of a node as network number, prefix length and first link."""
    if len(hops) <= MAX_ROUTES:
        yield from ((network, PREFIX_LENGTH, hop) for network, hop in hops.items())
    else:
        yield from _fewest_prefixes(hops)


def _fewest_prefixes(hops: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield the fewest routes that lead every network the same way.

    Optimal Routing Table Constructor (Draves et al., INFOCOM 1999) on a complete binary tree,
    node n above 2n and 2n + 1, leaves are the networks. A node holds the set of first links that
    suit it, a bit for each; where no network is, and for a node's own ones, whose routes the
    kernel makes, everything suits.
    """
    width = max(hops).bit_length()
    links = list(dict.fromkeys(hops.values()))
    bits = {link: 1 << number for number, link in enumerate(links)}
    suits = [-1] * (2 << width)
    for network, hop in hops.items():
        suits[(1 << width) + network] = bits[hop]
    for place in range((1 << width) - 1, 0, -1):
        left, right = suits[2 * place], suits[2 * place + 1]
        suits[place] = left & right or left | right
    chosen = [0] * (2 << width)
    for place in range(1, 2 << width):
        wanted, inherited = suits[place], chosen[place >> 1]
        if wanted == -1 or wanted & inherited:
            chosen[place] = inherited
            continue
        chosen[place] = wanted & -wanted
        bits_below = width + 1 - place.bit_length()
        network = (place << bits_below) - (1 << width)
        yield network, PREFIX_LENGTH - bits_below, links[chosen[place].bit_length() - 1]


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
    """Return the known name that was probably meant, as a remark; nothing if none is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.7)
    return f' (did you mean "{near[0]}"?)' if near else ""
