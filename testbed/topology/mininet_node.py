# SPDX-License-Identifier: Apache-2.0
"""What Mininet's own `mn` needs beyond names and addresses: routes, forwarding, shaping.

Mininet's nodes neither forward nor have routes to networks other than their own.
"""

import math
from collections.abc import Callable
from typing import Any

from testbed.topology.link import Direction

PACKET_BYTES = 1500

# Above this, Mininet refuses to shape.
MAX_BANDWIDTH_MBPS = 1000

# As on our own nodes: each path has a table for what comes from its address.
FIRST_TABLE = 101
RULE_PRIORITY = 100

NO_FILTER = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done"
FORWARD = "echo 1 > /proc/sys/net/ipv4/ip_forward"


def mininet_node(name: str, commands: Callable[[], list[str]], **parameters: Any) -> Any:
    """Return a Mininet host that carries out commands when it is configured.

    Args:
        name: of the node.
        commands: returns them; asked when all links are there.
        parameters: for Mininet.
    """
    from mininet.log import error
    from mininet.node import Host

    class ConfiguredHost(Host):  # type: ignore[misc]  # Mininet is not typed
        """A host with what its topology says."""

        def config(self, **wanted: Any) -> Any:
            result = super().config(**wanted)
            if said := self.cmd("; ".join(commands())):
                error(f"*** {name}: {said}")
            return result

    return ConfiguredHost(name, **parameters)


def node_commands(
    forwards: bool, routes: list[dict[str, Any]], ways_out: list[tuple[str, str, str]]
) -> list[str]:
    """Return the commands that configure a node.

    Args:
        forwards: whether it is a router.
        routes: as in run.json.
        ways_out: interface, own address and gateway of each of its named paths.
    """
    commands = [NO_FILTER]
    if forwards:
        commands.append(FORWARD)
    commands += [_route_command(route) for route in routes]
    for number, (interface, address, gateway) in enumerate(ways_out):
        table = FIRST_TABLE + number
        way = f"default via {gateway} dev {interface} src {address}"
        commands += [
            f"ip rule add from {address} table {table} priority {RULE_PRIORITY}",
            f"ip route add {way} table {table}",
            f"ip route add {way} metric {100 * (number + 1)}",
        ]
    return commands


def _route_command(route: dict[str, Any]) -> str:
    command = f"ip route add {route['destination']}/{route['prefix_length']}"
    hops = route.get("next_hops") or [route]
    word = " nexthop" if len(hops) > 1 else ""
    command += "".join(f"{word} via {hop['gateway']} dev {hop['interface']}" for hop in hops)
    more = {"src": route.get("source"), "table": route.get("table")}
    return command + "".join(f" {key} {value}" for key, value in more.items() if value)


def address_commands(addresses: list[dict[str, Any]], rules: list[dict[str, Any]]) -> list[str]:
    """Return the commands that give a node more addresses and route by them.

    Args:
        addresses, rules: as in run.json.
    """
    return [
        *(
            f"ip addr add {one['address']}/{one['prefix_length']} dev {one['interface']}"
            for one in addresses
        ),
        *(
            f"ip rule add from {one['from']} table {one['table']} priority {one['priority']}"
            for one in rules
        ),
    ]


def tc_parameters(direction: Direction) -> dict[str, Any]:
    """Return the parameters of a TCLink's interface that sends in a direction.

    Mininet's limit of packets includes those that are propagating, and it cannot follow a trace.
    """
    found: dict[str, Any] = {}
    rate_bps = direction.rate_bps or 0
    if 0 < rate_bps <= MAX_BANDWIDTH_MBPS * 1_000_000:
        found["bw"] = rate_bps / 1e6
        if direction.queue_bytes is not None:
            propagating = rate_bps / 8 * direction.one_way_delay_s
            packets = math.ceil((direction.queue_bytes + propagating) / PACKET_BYTES)
            found["max_queue_size"] = packets
    if direction.one_way_delay_s:
        found["delay"] = f"{direction.one_way_delay_s * 1000:g}ms"
    if direction.loss_fraction:
        found["loss"] = direction.loss_fraction * 100
    return found
