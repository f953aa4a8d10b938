# SPDX-License-Identifier: Apache-2.0
"""Builds the network of a run from its plain description, in one process.

Where a link's direction is shaped: on the sending end's interface if that node is a router; if
it is a host, behind the receiving end, because a queue on a host's own interface changes what
TCP does there (small queues, local congestion), as no real link does, only a NIC; a direction that
is the NIC says so.
"""

import socket
from typing import Any

from testbed.emulation.links import LinkKind, find_link_kind
from testbed.emulation.marking import mark_queue
from testbed.emulation.namespace import enter_new_namespace, returning, write_sysctl
from testbed.emulation.node import Node as Node
from testbed.emulation.node import make_nodes
from testbed.errors import BackendError
from testbed.netlink import qdisc, route, segment_routing
from testbed.netlink.message import NetlinkSocket

# One address for all: the ends know each other, nothing is resolved.
MAC = b"\x02\x00\x00\x00\x00\x01"

# Deep enough never to be the limit: what limits a queue here is the link.
IFB_INDEX_OFFSET = 1000

# The kernel begins to forget neighbours at the first of its thresholds and refuses new ones at the
# last (128 and 1024 by default); all nodes share one table.
NEIGHBOURS = "net.ipv4.neigh.default.gc_thresh"
FORGOTTEN_FROM = 128


class Network:
    """The live network.

    Args:
        plain: the topology as plain data (see testbed.topology.Topology.plain).
        sysctls: by node; "*" is for all of them.
    """

    def __init__(self, plain: dict[str, Any], sysctls: dict[str, dict[str, Any]]) -> None:
        self.plain = plain
        self.nodes = make_nodes(plain["nodes"], merge_sysctls(plain.get("sysctls", {}), sysctls))
        self.links = {link["name"]: link for link in plain["links"]}
        # (link, direction) -> the node and interface number where its queue is
        self.queues: dict[tuple[str, str], tuple[Node, int]] = {}

        self.link_kind: LinkKind

    def build(self) -> None:
        """Make links, addresses and routes, and then the queues."""
        _make_room_for_neighbours(2 * len(self.links))
        self._connect()
        for link in self.links.values():
            self._address(link)
        for node in self.nodes.values():
            self._address_more(node)
            for entry in self.plain["routes"][node.name]:
                self._route(node, entry)
            node.rtnl.flush()
        for link in self._cables():
            self._shape(link, "a_to_b")
            self._shape(link, "b_to_a")
            self._start(link)
        for node in self.nodes.values():
            node.rtnl.flush()
        self._mark()

    def _mark(self) -> None:
        """Let the queues mark packets whose description says so."""
        for (name, direction), (node, index) in self.queues.items():
            way = self.links[name][direction]
            if way.get("mark_bytes") is not None:
                with node.namespace.inside():
                    mark_queue(index, way["rate_bps"], way["queue_bytes"], way["mark_bytes"])

    def _cables(self) -> list[dict[str, Any]]:
        """Return the links that are made here: all of them, unless some are radio."""
        return [*self.links.values()]

    def _connect(self) -> None:
        """Make all links from an empty namespace, whose socket reaches into all others.

        In the namespace of a node, the numbers that it has given out would be in the way.
        """
        with returning():
            empty = enter_new_namespace()
            with NetlinkSocket(socket.NETLINK_ROUTE) as rtnl:
                self.link_kind = find_link_kind(rtnl)
                for link in self._cables():
                    self._make_link(rtnl, link)
                rtnl.flush()
            empty.close()

    def _make_link(self, rtnl: NetlinkSocket, link: dict[str, Any]) -> None:
        a, b = self.nodes[link["a"]], self.nodes[link["b"]]
        a_index, b_index = a.take_index(link["a_interface"]), b.take_index(link["b_interface"])
        what = f"make the link {link['name']}"
        rtnl.add(
            route.new_veth(
                a_index,
                link["a_interface"],
                b_index,
                link["b_interface"],
                b.namespace.fd,
                MAC,
                namespace_fd=a.namespace.fd,
                is_up=True,
                mtu_bytes=link.get("mtu_bytes"),
            ),
            what,
        )
        # The second end refuses to come up with the message that makes it.
        b.rtnl.add(route.link_up(b_index), what)

    def _address(self, link: dict[str, Any]) -> None:
        for side in "ab":
            node = self.nodes[link[side]]
            address = link[f"{side}_address"]
            index = node.indexes[link[f"{side}_interface"]]
            node.rtnl.add(
                route.new_address(index, address, link["prefix_length"]),
                f"give {node.name} the address {address}",
            )

    def _address_more(self, node: Node) -> None:
        """Give a node the addresses that are not those of its links, and the rules for them."""
        for one in self.plain.get("addresses", {}).get(node.name, []):
            index = node.indexes[one["interface"]]
            what = f"give {node.name} the address {one['address']}"
            is_six = ":" in one["address"]
            fresh = (
                segment_routing.new_address6(index, one["address"])
                if is_six
                else route.new_address(index, one["address"], one["prefix_length"])
            )
            node.rtnl.add(fresh, what)
        for one in self.plain.get("rules", {}).get(node.name, []):
            self._rule(node, one)

    def _rule(self, node: Node, one: dict[str, Any]) -> None:
        """Send what comes from an address, or by an interface, or has a mark, to a table."""
        table, priority = one["table"], one["priority"]
        what = f"give {node.name} the rule of the table {table}"
        if mark := one.get("mark"):
            node.rtnl.add(route.new_rule_mark(mark, table, priority), what)
            node.rtnl.add(route.new_local_route(table), what)
            return
        interface = one.get("interface", "")
        node.rtnl.add(route.new_rule_from(one.get("from"), table, priority, interface), what)

    def _route(self, node: Node, entry: dict[str, Any]) -> None:
        destination, length = entry["destination"], entry["prefix_length"]
        if hops := entry.get("next_hops"):
            ways = [(node.indexes[hop["interface"]], hop["gateway"]) for hop in hops]
            request = route.new_multipath_route(destination, length, ways)
        elif ":" in destination:
            index = node.indexes[entry["interface"]]
            request = segment_routing.new_route6(destination, length, index)
        elif segments := entry.get("segments"):
            index = node.indexes[entry["interface"]]
            more = {"table": entry["table"]} if "table" in entry else {}
            request = segment_routing.new_segments_route(
                destination, length, segments, index, **more
            )
        else:
            request = route.new_route(
                destination,
                length,
                node.indexes[entry["interface"]],
                entry["gateway"],
                **{key: entry[key] for key in ("table", "source") if key in entry},
            )
        node.rtnl.add(request, f"give {node.name} the route to {destination}")

    def _shape(self, link: dict[str, Any], direction: str) -> None:
        wanted = link[direction]
        change = direction_change(wanted)
        is_cable = change == qdisc.LinkChange(one_way_delay_s=0.0, loss_fraction=0.0)
        if not is_cable or wanted["trace"] is not None:
            self._attach(link, direction, change)

    def _attach(
        self,
        link: dict[str, Any],
        direction: str,
        change: qdisc.LinkChange,
        *,
        is_started: bool = False,
    ) -> None:
        from_side, to_side = direction.split("_to_")
        sender, receiver = self.nodes[link[from_side]], self.nodes[link[to_side]]
        what = f"shape the link {link['name']}"
        if sender.kind == "host" and not link[direction].get("is_at_sender"):
            node, index = receiver, self._behind(receiver, link[f"{to_side}_interface"], what)
        else:
            node, index = sender, sender.indexes[link[f"{from_side}_interface"]]
        self.link_kind.attach(node, index, change, what, replaces=is_started)
        self.queues[link["name"], direction] = (node, index)

    def _start(self, link: dict[str, Any]) -> None:
        """Let the end that came up first send at once.

        It came up without a carrier, and sends nothing until the kernel's link watch, which
        handles 100 interfaces per second, has noticed one. A queueing discipline that is attached
        when both ends are up starts at once.
        """
        node = self.nodes[link["a"]]
        index = node.indexes[link["a_interface"]]
        if self.queues.get((link["name"], "a_to_b")) != (node, index):
            node.rtnl.add(qdisc.new_noqueue(index), f"start the link {link['name']}")

    def _behind(self, node: Node, interface: str, what: str) -> int:
        """Make a queue for what arrives on an interface and return its number."""
        arriving = node.indexes[interface]
        index = arriving + IFB_INDEX_OFFSET
        node.rtnl.add(route.new_ifb(index, f"q{arriving}"), what)
        node.rtnl.add(qdisc.new_ingress(arriving), what)
        node.rtnl.add(qdisc.redirect_ingress(arriving, index), what)
        return index

    def change_link(self, name: str, direction: str, change: qdisc.LinkChange) -> None:
        """Change one direction of a link in place, now; a cable gets what can be changed."""
        if (name, direction) not in self.queues:
            self._attach(self.links[name], direction, change, is_started=True)
            self.queues[name, direction][0].rtnl.flush()
            return
        node, index = self.queues[name, direction]
        self.link_kind.change(node, index, change, f"change the link {name}")

    def delivered_bytes(self, name: str, direction: str) -> int:
        """Return how much one direction of a link has delivered until now."""
        node, index = self.queues[name, direction]
        return qdisc.lab_link_stats(node.rtnl.dump(qdisc.dump_qdiscs()))[index]["delivered_bytes"]

    def capture_place(self, node: str, interface: str) -> tuple[str, str]:
        """Return where the packets of a node's interface are seen, and which of those they are.

        Returns:
            The interface, and a filter expression (pcap-filter(7)), empty for all packets.
        """
        return interface, ""

    def start_traces(self, start_ns: int) -> None:
        """Let the links that have a trace follow it from a time of the monotonic clock on."""
        for (name, direction), (node, index) in self.queues.items():
            trace = self.links[name][direction]["trace"]
            if trace is None:
                continue
            what = f"load the trace of the link {name}"
            self.link_kind.start_trace(node, index, trace, start_ns, what)

    def trace_steps(
        self, duration_s: float
    ) -> list[tuple[float, tuple[str, str], qdisc.LinkChange]]:
        """Return the changes that have to be made for traces which the kernel cannot follow.

        Returns:
            of each: seconds from the start, link and direction, and what to change.
        """
        return [
            (at_s, place, change)
            for place in self.queues
            if (trace := self.links[place[0]][place[1]]["trace"]) is not None
            for at_s, change in self.link_kind.trace_steps(trace, duration_s)
        ]

    def link_counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counters of every shaped direction of every link."""
        stats = {node.name: self.link_kind.counters(node) for node in self.nodes.values()}
        counters: dict[str, dict[str, dict[str, int]]] = {}
        for (name, direction), (node, index) in self.queues.items():
            counters.setdefault(name, {})[direction] = stats[node.name][index]
        return counters


def merge_sysctls(
    first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the sysctls of both, by node; the second go before the first."""
    return {name: first.get(name, {}) | second.get(name, {}) for name in {**first, **second}}


def direction_change(wanted: dict[str, Any]) -> qdisc.LinkChange:
    """Return what makes a new queue behave as the topology wants.

    A trace comes with the run's start; until then its link takes no time, so that the base RTT of
    a path can be measured.
    """
    return qdisc.LinkChange(
        rate_bps=wanted["rate_bps"],
        one_way_delay_s=wanted["one_way_delay_s"],
        queue_bytes=wanted["queue_bytes"],
        loss_fraction=wanted["loss_fraction"],
        loss_seed=wanted.get("loss_seed"),
    )


def _make_room_for_neighbours(count: int) -> None:
    """Raise the limits of the neighbour table, where they can be raised, for a large network."""
    if count < FORGOTTEN_FROM:
        return
    for number, factor in ((3, 8), (2, 4), (1, 2)):
        try:
            write_sysctl(f"{NEIGHBOURS}{number}", factor * count)
        except BackendError:
            return  # not the machine's first namespace
