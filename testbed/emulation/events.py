# SPDX-License-Identifier: Apache-2.0
"""Timed changes of the network: what they are, and who carries them out.

A change is {"at_s": 20.0, "change": NAME, ...}; NAME is a key of CHANGES.
"""

from collections.abc import Callable
from typing import Any

from testbed.emulation.gate import Gate
from testbed.emulation.mptcp import MultipathClient
from testbed.emulation.network import Network
from testbed.errors import BackendError
from testbed.netlink.qdisc import LinkChange

DIRECTIONS = ("a_to_b", "b_to_a")
LINK_VALUES = ("rate_bps", "one_way_delay_s", "queue_bytes", "loss_fraction", "is_up")


class Changer:
    """Carries out changes on a live network.

    Args:
        network: the network.
        client: the node whose addresses come and go; None where no node's do.
        gate: who opens and closes some of the links, if anybody does.
    """

    def __init__(
        self, network: Network, client: MultipathClient | None, gate: Gate | None = None
    ) -> None:
        self._gate = gate
        self._network = network
        self._known_client = client

    @property
    def _client(self) -> MultipathClient:
        if self._known_client is None:
            raise BackendError("this network has no client whose addresses could change")
        return self._known_client

    def carry_out(self, change: dict[str, Any]) -> None:
        """Carry out one change, now."""
        CHANGES[change["change"]](self, change)

    def link(self, change: dict[str, Any]) -> None:
        """Change values of one direction of a link: rate, delay, queue, loss, up."""
        values = {name: change[name] for name in LINK_VALUES if name in change}
        link, direction = change["link"], change["direction"]
        if self._gate is not None and self._gate.holds(link):
            self._gate.change(link, direction, LinkChange(**values))
        else:
            self._network.change_link(link, direction, LinkChange(**values))

    def link_down(self, change: dict[str, Any]) -> None:
        """Lose a link's queues and all that is sent: the radio is out of range."""
        for direction in DIRECTIONS:
            self._network.change_link(change["link"], direction, LinkChange(is_up=False))

    def link_up(self, change: dict[str, Any]) -> None:
        """Let a link carry packets again."""
        for direction in DIRECTIONS:
            self._network.change_link(change["link"], direction, LinkChange(is_up=True))

    def address_gone(self, change: dict[str, Any]) -> None:
        """Take the client's address on a path away, with its endpoint and routes."""
        self._client.address_gone(change["path"])

    def address_back(self, change: dict[str, Any]) -> None:
        """Give the client an address on a path again."""
        flags = tuple(change["flags"]) if "flags" in change else None
        self._client.address_back(change["path"], change["address"], flags)

    def endpoint_add(self, change: dict[str, Any]) -> None:
        """Add an MPTCP endpoint for a path."""
        self._client.endpoint_add(change["path"], tuple(change["flags"]))

    def endpoint_remove(self, change: dict[str, Any]) -> None:
        """Remove the MPTCP endpoint of a path."""
        self._client.endpoint_remove(change["path"])

    def endpoint_backup(self, change: dict[str, Any]) -> None:
        """Make the MPTCP endpoint of a path a backup, or no backup."""
        self._client.endpoint_backup(change["path"], change["is_backup"])

    def use_path(self, change: dict[str, Any]) -> None:
        """Do nothing to the network: this one is for the workload."""


CHANGES: dict[str, Callable[[Changer, dict[str, Any]], None]] = {
    name: getattr(Changer, name)
    for name in (
        "link",
        "link_down",
        "link_up",
        "address_gone",
        "address_back",
        "endpoint_add",
        "endpoint_remove",
        "endpoint_backup",
        "use_path",
    )
}
