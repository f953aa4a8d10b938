# SPDX-License-Identifier: Apache-2.0
"""MPTCP on the emulated hosts: sysctls, limits, endpoints and a routing table per address."""

from typing import Any

from testbed.emulation.network import Network, Node
from testbed.errors import BackendError
from testbed.netlink import route
from testbed.netlink.mptcp import Endpoint

FIRST_TABLE = 100
RULE_PRIORITY = 100
ANYWHERE = "0.0.0.0"


def sysctls(mptcp: dict[str, Any]) -> dict[str, Any]:
    """Return the sysctls of every node.

    blackhole_timeout is 0 because the kernel would otherwise switch MPTCP off for an hour after
    it lost a few SYN packets, for example in a tunnel.
    """
    return {
        "net.ipv4.tcp_congestion_control": mptcp["congestion_control"],
        "net.mptcp.enabled": 1,
        "net.mptcp.blackhole_timeout": 0,
        "net.mptcp.path_manager": mptcp["path_manager"],
        "net.mptcp.scheduler": mptcp["scheduler"],
    }


class MultipathClient:
    """The node with several paths, whose addresses come and go.

    Args:
        network: the live network.
        paths: of one node, as in run.json.
        flags: of every endpoint.
    """

    def __init__(
        self, network: Network, paths: list[dict[str, str]], flags: tuple[str, ...]
    ) -> None:
        self.node = network.nodes[paths[0]["node"]]
        self._flags = flags
        self._paths = {path["name"]: path for path in paths}
        self._numbers = {path["name"]: number for number, path in enumerate(paths, 1)}
        self._links = {
            path["name"]: next(
                link
                for link in network.links.values()
                if path["address"] in (link["a_address"], link["b_address"])
            )
            for path in paths
        }

    def set_up(self) -> None:
        """Give every path its routes and its endpoint."""
        for name, path in self._paths.items():
            table = FIRST_TABLE + self._numbers[name]
            self.node.rtnl.add(
                route.new_rule_from(path["address"], table, RULE_PRIORITY),
                f"route what comes from {path['address']}",
            )
            self._add_routes(name)
            self._endpoints().add_endpoint(self._endpoint(name))

    def address_gone(self, name: str) -> None:
        """Do what a laptop does when it has lost a network: drop the address and its endpoint."""
        path, link = self._paths[name], self._links[name]
        self._endpoints().delete_endpoint(self._endpoint(name))
        self.node.rtnl.request(
            route.delete_address(self._index(name), path["address"], link["prefix_length"]),
            f"take the address {path['address']}",
        )

    def address_back(self, name: str) -> None:
        """Do what a laptop does when it has joined a network again."""
        path, link = self._paths[name], self._links[name]
        self.node.rtnl.request(
            route.new_address(self._index(name), path["address"], link["prefix_length"]),
            f"give the address {path['address']}",
        )
        self._add_routes(name)
        self._endpoints().add_endpoint(self._endpoint(name))

    def _add_routes(self, name: str) -> None:
        """Add the default routes by this path: for its own address, and for all others."""
        path, link = self._paths[name], self._links[name]
        number, index = self._numbers[name], self._index(name)
        gateway = link["b_address"] if path["address"] == link["a_address"] else link["a_address"]
        what = f"route by the path {name}"
        # A route with a source address goes when the address goes.
        source = path["address"]
        for place in ({"table": FIRST_TABLE + number}, {"metric": 100 * number}):
            self.node.rtnl.add(
                route.new_route(ANYWHERE, 0, index, gateway, source=source, **place), what
            )
        self.node.rtnl.flush()

    def _endpoints(self) -> Any:
        if self.node.path_manager is None:
            raise BackendError(f"the node {self.node.name} is a router and has no endpoints")
        return self.node.path_manager

    def _endpoint(self, name: str) -> Endpoint:
        address = self._paths[name]["address"]
        return Endpoint(address, self._numbers[name], self._flags, self._index(name))

    def _index(self, name: str) -> int:
        return self.node.indexes[self._paths[name]["interface"]]


def set_limits(nodes: dict[str, Node], limits: dict[str, int]) -> None:
    """Set the limits of the path manager on every host; both ends have their own."""
    for node in nodes.values():
        if node.path_manager is not None:
            node.path_manager.set_limits(limits["subflows"], limits["add_addr_accepted"])
