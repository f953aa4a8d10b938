# SPDX-License-Identifier: Apache-2.0
"""The base of all topologies: a Mininet topology with typed links and named paths.

Addresses go by rule: the n-th link is the network 10.<n / 256>.<n % 256>.0/24 with .1 on the
side that was named second and .2 on the side that was named first. Routes are the shortest
ones, by number of links.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from mininet.topo import Topo

from testbed.errors import PlanError

# The kernel's IFNAMSIZ less the terminating zero.
MAX_INTERFACE_NAME = 15
PREFIX_LENGTH = 24
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


class Topology(Topo):  # type: ignore[misc]  # Mininet is not typed
    """A description of a network; subclasses add nodes, links and paths in `build`."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        self.typed_links: list[Link] = []
        self.paths: list[dict[str, str]] = []
        self.kinds: dict[str, str] = {}
        super().__init__(*args, **parameters)

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
        network = len(self.typed_links) + 1
        prefix = f"10.{network // 256}.{network % 256}"
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
        self._check_interfaces(link)
        self.typed_links.append(link)
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
            if node not in self.kinds:
                raise PlanError(f'the link "{name}" ends at "{node}", which is not a node')
        if any(link.name == name for link in self.typed_links):
            raise PlanError(f'two links are called "{name}"; give each a name of its own')

    def _check_interfaces(self, fresh: Link) -> None:
        taken = {
            end
            for link in self.typed_links
            for end in ((link.a, link.a_interface), (link.b, link.b_interface))
        }
        for node, interface in (
            (fresh.a, fresh.a_interface),
            (fresh.b, fresh.b_interface),
        ):
            if (node, interface) in taken:
                raise PlanError(
                    f'two interfaces of the node "{node}" are called "{interface}"; '
                    f'name the one of the link "{fresh.name}" differently'
                )

    def add_path(self, name: str, node: str, link: Link) -> None:
        """Name the path that a client's connections take when they leave by a link."""
        if node not in (link.a, link.b):
            raise PlanError(
                f'the path "{name}" leaves "{node}" by the link "{link.name}", '
                f'which connects "{link.a}" and "{link.b}"'
            )
        if any(path["name"] == name for path in self.paths):
            raise PlanError(f'two paths are called "{name}"; give each a name of its own')
        interface, address = (
            (link.a_interface, link.a_address)
            if node == link.a
            else (link.b_interface, link.b_address)
        )
        self.paths.append({"name": name, "node": node, "interface": interface, "address": address})

    def plain(self) -> dict[str, Any]:
        """Return the topology as plain data, for run.json."""
        return {
            "nodes": [{"name": name, "kind": kind} for name, kind in self.kinds.items()],
            "links": [asdict(link) for link in self.typed_links],
            "paths": self.paths,
            "routes": {name: list(self._routes(name)) for name in self.kinds},
        }

    def _routes(self, node: str) -> Iterator[dict[str, Any]]:
        """Yield the routes of a node: to every network that is not its own, by the next hop.

        A node with named paths has none: its routes come and go with its addresses.
        """
        if any(path["node"] == node for path in self.paths):
            return
        next_hops = self._next_hops(node)
        own = [link for link in self.typed_links if node in (link.a, link.b)]
        for link in self.typed_links:
            if link in own:
                continue
            sides = [side for side in (link.a, link.b) if side in next_hops]
            if not sides:
                raise PlanError(f'the node "{node}" cannot reach the link "{link.name}"')
            _, hop = min((next_hops[side] for side in sides), key=lambda found: found[0])
            yield _route(node, hop, link)

    def _next_hops(self, node: str) -> dict[str, tuple[int, Link]]:
        """Return for every other node the distance and the first link on the way to it."""
        found: dict[str, tuple[int, Link]] = {}
        queue: deque[tuple[str, int, Link | None]] = deque([(node, 0, None)])
        while queue:
            here, distance, first = queue.popleft()
            for link in self.typed_links:
                if here not in (link.a, link.b):
                    continue
                other = link.b if here == link.a else link.a
                if other != node and other not in found:
                    found[other] = (distance + 1, first or link)
                    queue.append((other, distance + 1, first or link))
        return found


def _route(node: str, hop: Link, destination: Link) -> dict[str, Any]:
    is_a = node == hop.a
    return {
        "destination": destination.a_address.rpartition(".")[0] + ".0",
        "prefix_length": destination.prefix_length,
        "interface": hop.a_interface if is_a else hop.b_interface,
        "gateway": hop.b_address if is_a else hop.a_address,
    }


def _interface_name(name: str) -> str:
    if len(name) > MAX_INTERFACE_NAME:
        raise PlanError(
            f'the interface name "{name}" has more than {MAX_INTERFACE_NAME} characters; '
            "shorten it or the names of its nodes"
        )
    return name
