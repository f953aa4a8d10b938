# SPDX-License-Identifier: Apache-2.0
"""A tunnel (IP in IP, RFC 2003) between two routers: an address of one site lives at another.

What is sent to the address is led through the tunnel by the router at home, and what comes from it
goes back the same way, as with a layer-2 extension: the gateway is still at home.
"""

from typing import Any

from testbed.emulation.network import Network
from testbed.netlink import route

INTERFACE = "tunnel"
INTERFACE_INDEX = 900
IN_TABLE, OUT_TABLE, RULE_PRIORITY = 200, 201, 50
ANYWHERE = "0.0.0.0"


class Tunnel:
    """A tunnel for one address.

    Args:
        network: the live network.
        plan: "home" and "away" (routers), their addresses "home_end" and "away_end", "address",
            and "interface", by which the router away reaches the address.
    """

    def __init__(self, network: Network, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._home = network.nodes[plan["home"]]
        self._away = network.nodes[plan["away"]]
        self._is_used = False

    def make(self) -> None:
        """Make both ends; nothing is led through them yet."""
        ends = self._plan["home_end"], self._plan["away_end"]
        for node, local, remote in ((self._home, *ends), (self._away, *ends[::-1])):
            what = f"make the tunnel at {node.name}"
            node.rtnl.add(route.new_ipip(INTERFACE_INDEX, INTERFACE, local, remote), what)
            node.rtnl.add(route.link_up(INTERFACE_INDEX), what)
            node.rtnl.flush()

    def use(self) -> None:
        """Lead what goes to the address, and what comes from it, through the tunnel."""
        self._is_used = True
        address, index = self._plan["address"], self._away.indexes[self._plan["interface"]]
        self._home.rtnl.request(
            route.new_route(address, 32, INTERFACE_INDEX, None), f"lead {address} away"
        )
        what = f"lead {address} by way of its home"
        self._away.rtnl.add(route.new_route(address, 32, index, None, table=IN_TABLE), what)
        self._away.rtnl.add(
            route.new_route(ANYWHERE, 0, INTERFACE_INDEX, None, table=OUT_TABLE), what
        )
        for rule in self._rules():
            self._away.rtnl.add(route.new_rule_from(*rule), what)
        self._away.rtnl.flush()

    def _rules(self) -> list[tuple[str | None, int, int, str]]:
        """Return the rules of the router away: what comes in by where goes by which table.

        Neither holds for what others send to the address, or what comes back from its home.
        """
        return [
            (None, IN_TABLE, RULE_PRIORITY, INTERFACE),
            (self._plan["address"], OUT_TABLE, RULE_PRIORITY, self._plan["interface"]),
        ]

    def remove(self) -> None:
        """Lead nothing through it any more."""
        if not self._is_used:
            return
        self._is_used = False
        address, index = self._plan["address"], self._away.indexes[self._plan["interface"]]
        what = f"lead {address} nowhere"
        self._home.rtnl.request(route.delete_route(address, 32, INTERFACE_INDEX), what)
        for rule in self._rules():
            self._away.rtnl.add(route.delete_rule_from(*rule), what)
        self._away.rtnl.add(route.delete_route(address, 32, index, table=IN_TABLE), what)
        self._away.rtnl.add(route.delete_route(ANYWHERE, 0, INTERFACE_INDEX, table=OUT_TABLE), what)
        self._away.rtnl.flush()
