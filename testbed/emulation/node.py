# SPDX-License-Identifier: Apache-2.0
"""Nodes: a network namespace each, and the sockets that configure it."""

import os
import socket
from typing import Any

from testbed.emulation.namespace import (
    Namespace,
    enter_new_namespace,
    has_sysctl,
    inheriting,
    returning,
    write_sysctl,
)
from testbed.netlink import route
from testbed.netlink.message import NetlinkSocket
from testbed.netlink.mptcp import PathManager

# Fallback devices of tunnels take the first numbers of a namespace.
FIRST_INDEX = 12

# The namespace, its two sockets, and what a workload or a collector opens for it.
DESCRIPTORS_PER_NODE = 8
OTHER_DESCRIPTORS = 200

SYSCTLS: dict[str, Any] = {
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.tcp_no_metrics_save": 1,
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
}


class Node:
    """One node; it is made inside its namespace.

    Args:
        name: as in the topology.
        kind: "host" or "router".
        namespace: in which the calling thread is.
        mptcp_family: see PathManager.
    """

    def __init__(
        self, name: str, kind: str, namespace: Namespace, mptcp_family: int | None = None
    ) -> None:
        self.name = name
        self.kind = kind
        self.namespace = namespace
        self.indexes: dict[str, int] = {}
        self.rtnl = NetlinkSocket(socket.NETLINK_ROUTE)
        self.path_manager = PathManager(mptcp_family) if kind == "host" else None
        self.rtnl.add(route.link_up(route.LOOPBACK_INDEX), f"bring up lo of {name}")

    def take_index(self, interface: str) -> int:
        """Return the interface's number, which is given out here and not by the kernel."""
        return self.indexes.setdefault(interface, FIRST_INDEX + len(self.indexes))


def make_nodes(
    described: list[dict[str, str]], sysctls: dict[str, dict[str, Any]]
) -> dict[str, Node]:
    """Make nodes, those with the same sysctls one after the other.

    Args:
        described: name and kind of each.
        sysctls: by node; "*" is for all of them.
    """
    _make_room_for_descriptors(len(described))
    own = own_keys(sysctls)
    alike: dict[str, list[dict[str, str]]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for node in described:
        wanted = {**SYSCTLS, **sysctls.get("*", {})}
        wanted["net.ipv4.ip_forward"] = int(node["kind"] == "router")
        named = sysctls.get(node["name"], {})
        wanted |= {key: value for key, value in named.items() if key not in own}
        settings[str(wanted)] = wanted
        alike.setdefault(str(wanted), []).append(node)
    made: dict[str, Node] = {}
    for key, nodes in alike.items():
        with inheriting(), returning():
            made.update(_make_alike(nodes, settings[key], own, sysctls))
    return {node["name"]: made[node["name"]] for node in described}


def own_keys(sysctls: dict[str, dict[str, Any]]) -> set[str]:
    """Return the sysctls in which almost every node that has them differs, such as seeds."""
    values: dict[str, list[str]] = {}
    for name, settings in sysctls.items():
        for key, value in settings.items() if name != "*" else ():
            values.setdefault(key, []).append(str(value))
    return {key for key, found in values.items() if len(set(found)) > max(2, len(found) // 2)}


def _make_alike(
    described: list[dict[str, str]],
    sysctls: dict[str, Any],
    own: set[str],
    named: dict[str, dict[str, Any]],
) -> dict[str, Node]:
    """Make nodes with the same sysctls; each is made from inside the one before it.

    What the second does not inherit from the first, no later one does.

    Args:
        described: the nodes.
        sysctls: that are the same.
        own: those that are not.
        named: the values of the latter, by node.
    """
    made = {}
    family = None
    for number, node in enumerate(described):
        namespace = enter_new_namespace()
        if number < 2:
            missing = {key: value for key, value in sysctls.items() if not has_sysctl(key, value)}
        for key, value in missing.items():
            write_sysctl(key, value)
        for key, value in named.get(node["name"], {}).items() if own else ():
            if key in own:
                write_sysctl(key, value)
        fresh = Node(node["name"], node["kind"], namespace, family)
        family = fresh.path_manager.family if fresh.path_manager else family
        made[node["name"]] = fresh
    return made


def _make_room_for_descriptors(nodes: int) -> None:
    wanted = nodes * DESCRIPTORS_PER_NODE + OTHER_DESCRIPTORS
    if wanted > os.sysconf("SC_OPEN_MAX"):
        import resource  # small networks do without it

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        is_enough = hard >= wanted or hard == resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard if is_enough else wanted))
