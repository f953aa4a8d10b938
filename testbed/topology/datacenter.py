# SPDX-License-Identifier: Apache-2.0
"""The base of datacenter networks: racks of servers, ECMP, spare ports, an address per way.

Every port of a server has addresses of its own, so that a pair of addresses says by which ports a
subflow leaves and arrives. Those of a spare port belong to the neighbour's rack and lead over the
neighbour, which forwards (GRIN: Agache et al., HotCloud 2012 and NSDI 2015)::

      switch ------ h0 ------ h1 ------ switch        h0's addresses: P by its own port,
           own port     spare     own port                            G, H over h1

P and G are local ends of subflows. H is announced to the far end: the kernel has no endpoint that
is both `fullmesh` and announced. The addresses of a rack are 10.<128 and up>.x.0/24.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import PlanError, SpecError
from testbed.topology import Direction, Link, Topology
from testbed.topology.mininet_node import address_commands
from testbed.topology.spare import spare_pairs
from testbed.units import parse_duration, parse_rate

PACKET_BYTES = 1500
FIRST_OCTET = 128  # of racks; links are numbered below it
LAST_OCTET = 255
MAX_LINKS = FIRST_OCTET * 256 - 1
TOO_LARGE = "the network is too large for its addresses; use fewer servers or switches"
RACK_ADDRESSES = 254
HOST_PREFIX = 32
FIRST_TABLE, RULE_PRIORITY = 101, 100

# The path manager of Linux 7.3 takes so many subflows after the first, and so many endpoints.
MAX_EXTRA_SUBFLOWS = 64


@dataclass
class Rack:
    """The servers of one switch, and the network of their addresses.

    Attributes:
        switch: its name.
        prefix: the first three bytes of the addresses.
        given: how many addresses have been given out.
    """

    switch: str
    prefix: str
    given: int = 0

    @property
    def network(self) -> str:
        """The address of the network."""
        return f"{self.prefix}.0"

    def take(self) -> str:
        """Return the next address.

        Raises:
            PlanError: there is none left.
        """
        self.given += 1
        if self.given > RACK_ADDRESSES:
            raise PlanError(
                f"the rack of {self.switch} needs more than {RACK_ADDRESSES} addresses; use fewer "
                "subflows, spare ports or servers per rack"
            )
        return f"{self.prefix}.{self.given}"


@dataclass
class Port:
    """A port of a server.

    Attributes:
        link: the cable.
        rack: whose addresses it has.
        relay: the neighbour that forwards for it; "" for a port at a switch.
        local: addresses that subflows leave from.
        announced: the address that the far end is told of.
    """

    link: Link
    rack: Rack
    relay: str = ""
    local: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """All addresses of the port."""
        return [*self.local, *self.announced]


class Datacenter(Topology):
    """Servers in racks; subclasses add switches, racks and routes in `build`."""

    def __init__(self, *args: Any, **parameters: Any) -> None:
        self.server_ports: dict[str, list[Port]] = {}
        self.nic_bps = 0
        self._core: list[str] = []
        self._given_routes: dict[str, list[dict[str, Any]]] = {}
        self._subflows = self._spare_ports = self._mark_packets = 0
        self._cable = Direction()
        super().__init__(*args, **parameters)

    def prepare(
        self,
        rate: str,
        one_way_delay: str,
        queue_packets: int,
        spare_ports: int,
        subflows: int,
        nic_queues: bool,
        mark_packets: int,
    ) -> None:
        """Note what all cables and servers have in common.

        Args:
            rate: of a server's port, such as "100 Mbit/s".
            one_way_delay: of a cable.
            queue_packets: at each port, in packets of 1500 bytes.
            spare_ports: of each server.
            subflows: of a connection at least; each pair of ports has as many as the others.
            nic_queues: whether a server's own port queues what it sends, so that TCP's small
                queues hold it back; else the queue is at the far end of the cable.
            mark_packets: queue beyond which packets are marked, if congestion control needs it.

        Raises:
            PlanError: one of them is wrong.
        """
        if subflows < 1:
            raise PlanError(f"subflows is {subflows}; a connection has at least 1")
        if queue_packets < 1:
            raise PlanError(f"queue_packets is {queue_packets}; a queue holds at least 1")
        if mark_packets < 1:
            raise PlanError(f"mark_packets is {mark_packets}; the least queue that marks is 1")
        try:
            self.nic_bps, delay_s = parse_rate(rate), parse_duration(one_way_delay)
        except SpecError as error:
            raise PlanError(f"topology.parameters: {error}") from error
        self._spare_ports, self._subflows = spare_ports, subflows
        self._mark_packets = mark_packets
        size = queue_packets * PACKET_BYTES
        self._cable = Direction(self.nic_bps, delay_s, size, is_at_sender=nic_queues)

    def add_rack(self, switch: str, octets: tuple[int, int], servers: int) -> Rack:
        """Add a switch with its servers, all wired.

        Args:
            switch: its name.
            octets: second and third byte of its network, the second counted from 0.
            servers: how many.
        """
        rack = self.add_empty_rack(switch, octets)
        names = [self.add_server(rack) for _ in range(servers)]
        self.wire_spare_ports(names)
        return rack

    def add_empty_rack(self, switch: str, octets: tuple[int, int]) -> Rack:
        """Add a switch that has addresses for servers."""
        second, third = FIRST_OCTET + octets[0], octets[1]
        if max(second, third) > LAST_OCTET:
            raise PlanError(TOO_LARGE)
        return Rack(self.add_router(switch), f"10.{second}.{third}")

    def add_server(self, *racks: Rack) -> str:
        """Add a server with a port at the switch of each rack; return its name."""
        name = self.add_host(f"h{len(self.server_ports)}")
        self.server_ports[name] = [
            Port(self._connect(name, rack.switch, self._cable), rack) for rack in racks
        ]
        return name

    def wire_spare_ports(self, servers: Sequence[str]) -> None:
        """Connect the spare ports of the servers of a rack with each other."""
        for one, other in spare_pairs(servers, self._spare_ports):
            link = self._connect(one, other, self._cable)
            for name, relay in ((one, other), (other, one)):
                self.server_ports[name].append(Port(link, self.server_ports[relay][0].rack, relay))

    def connect(self, below: str, above: str, speedup: int = 1, *, is_core: bool = False) -> Link:
        """Connect two switches.

        Args:
            below, above: the one nearer to the servers first.
            speedup: over the rate of a server's port.
            is_core: whether it is a link of the core.
        """
        assert self._cable.rate_bps is not None and self._cable.queue_bytes is not None
        rate_bps, queue_bytes = self._cable.rate_bps * speedup, self._cable.queue_bytes * speedup
        cable = Direction(rate_bps, self._cable.one_way_delay_s, queue_bytes)
        link = self._connect(below, above, cable)
        self._core += [link.name] if is_core else []
        return link

    def _connect(self, a: str, b: str, cable: Direction) -> Link:
        if len(self.typed_links) >= MAX_LINKS:
            raise PlanError(TOO_LARGE)
        return self.add_link(f"{a}-{b}", a, b, a_to_b=cable, b_to_a=cable)

    def route(self, node: str, network: str, prefix_length: int, links: Sequence[Link]) -> None:
        """Give a node a route to a network over one link, or over several of equal cost."""
        hops = [_hop(link, node) for link in links]
        way = hops[0] if len(hops) == 1 else {"next_hops": hops}
        self._give(node, network, prefix_length, way)

    def _give(self, node: str, network: str, prefix_length: int, way: dict[str, Any]) -> None:
        entry = {"destination": network, "prefix_length": prefix_length, **way}
        self._given_routes.setdefault(node, []).append(entry)

    def finish(self) -> None:
        """Give the servers their addresses, and everybody the routes to them.

        Raises:
            PlanError: a connection would have more subflows than the kernel allows.
        """
        per_pair = self._subflows_per_pair()
        for name, ports in self.server_ports.items():
            for number, port in enumerate(ports):
                port.local = [port.rack.take() for _ in range(per_pair)]
                port.announced = [port.rack.take()] if number else []
                self._route_server(name, number, port)

    def _subflows_per_pair(self) -> int:
        """Return how many subflows each pair of ports of two servers has."""
        pairs = max(len(ports) for ports in self.server_ports.values()) ** 2
        per_pair = -(-self._subflows // pairs)
        if per_pair * pairs > MAX_EXTRA_SUBFLOWS + 1:
            raise PlanError(
                f"subflows is {self._subflows}, of which each of {pairs} pairs of ports would have "
                f"{per_pair}; the kernel allows {MAX_EXTRA_SUBFLOWS + 1} per connection"
            )
        return per_pair

    def _route_server(self, name: str, number: int, port: Port) -> None:
        """Lead what comes from a port out by it, and what is for it to it."""
        first = {"source": port.local[0]} if number == 0 else {"table": FIRST_TABLE + number}
        self._give(name, "0.0.0.0", 0, {**_hop(port.link, name), **first})
        holder = port.relay or name
        access = next(
            p.link for p in self.server_ports[holder] if p.rack is port.rack and not p.relay
        )
        for address in port.addresses:
            self.route(port.rack.switch, address, HOST_PREFIX, [access])
            if port.relay:
                self._relay(port, address)

    def _relay(self, port: Port, address: str) -> None:
        """Let a neighbour pass on what is for an address, by whichever port it would send itself.

        Else what it sends to that address by another port would come back to it.
        """
        way = _hop(port.link, port.relay)
        self._give(port.relay, address, HOST_PREFIX, way)
        for number in range(1, len(self.server_ports[port.relay])):
            self._give(port.relay, address, HOST_PREFIX, {**way, "table": FIRST_TABLE + number})

    def _routes(self, node: str) -> Any:
        return self._given_routes.get(node, [])

    def _mininet_commands(self, node: str) -> list[str]:
        commands = super()._mininet_commands(node)
        forward = ["echo 1 > /proc/sys/net/ipv4/ip_forward"] if self._relays(node) else []
        return [*address_commands(self._addresses(node), self._rules(node)), *forward, *commands]

    def plain(self) -> dict[str, Any]:
        """Return the topology as plain data, with the addresses and endpoints of all servers."""
        return {
            **super().plain(),
            "addresses": {name: self._addresses(name) for name in self.server_ports},
            "rules": {name: self._rules(name) for name in self.server_ports},
            "endpoints": {name: self._endpoints(name) for name in self.server_ports},
            "sysctls": {
                n: {"net.ipv4.ip_forward": 1} for n in self.server_ports if self._relays(n)
            },
            "datacenter": {
                "nic_bps": self.nic_bps,
                "spare_ports": self._spare_ports,
                "subflows": self._subflows,
                "mark_bytes": self._mark_packets * PACKET_BYTES,
                "hosts": {name: self._host(name) for name in self.server_ports},
                "core_links": self._core,
            },
        }

    def _relays(self, node: str) -> bool:
        return any(port.relay for port in self.server_ports.get(node, []))

    def _addresses(self, node: str) -> list[dict[str, Any]]:
        return [
            {"interface": _interface(port.link, node), "address": a, "prefix_length": HOST_PREFIX}
            for port in self.server_ports.get(node, [])
            for a in port.addresses
        ]

    def _rules(self, node: str) -> list[dict[str, Any]]:
        return [
            {"from": address, "table": FIRST_TABLE + number, "priority": RULE_PRIORITY}
            for number, port in enumerate(self.server_ports.get(node, []))
            for address in port.addresses
            if number
        ]

    def _endpoints(self, node: str) -> list[dict[str, Any]]:
        """Return the MPTCP endpoints of a server; with one port, its first address needs none."""
        ports = self.server_ports[node]
        flags = ["subflow", "fullmesh"] if len(ports) > 1 else ["subflow"]
        found = [(port, a, flags) for port in ports for a in port.local]
        found = found[1:] if len(ports) == 1 else found
        found += [(port, a, ["signal"]) for port in ports for a in port.announced]
        return [
            {
                "address": address,
                "identifier": number,
                "flags": said,
                "interface": _interface(port.link, node),
            }
            for number, (port, address, said) in enumerate(found, 1)
        ]

    def _host(self, node: str) -> dict[str, Any]:
        ports = self.server_ports[node]
        return {
            "address": ports[0].local[0],
            "rack": ports[0].rack.switch,
            "uplinks": [port.link.name for port in ports if not port.relay],
            "lenders": [port.relay for port in ports if port.relay],
            "spare_links": [port.link.name for port in ports if port.relay],
            "local_addresses": sum(len(port.local) for port in ports),
            "announced_addresses": sum(len(port.announced) for port in ports),
        }


def _interface(link: Link, node: str) -> str:
    return link.a_interface if node == link.a else link.b_interface


def _hop(link: Link, node: str) -> dict[str, Any]:
    gateway = link.b_address if node == link.a else link.a_address
    return {"interface": _interface(link, node), "gateway": gateway}
