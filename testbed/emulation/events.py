# SPDX-License-Identifier: Apache-2.0
"""Timed changes of the network: what they are, and who carries them out.

A change is {"at_s": 20.0, "change": NAME, ...}; NAME is a key of CHANGES.
"""

from collections.abc import Callable
from typing import Any

from testbed.emulation.mptcp import MultipathClient
from testbed.emulation.network import Network
from testbed.netlink.qdisc import LinkChange


class Changer:
    """Carries out changes on a live network.

    Args:
        network: the network.
        client: the node whose addresses come and go.
    """

    def __init__(self, network: Network, client: MultipathClient) -> None:
        self._network = network
        self._client = client

    def carry_out(self, change: dict[str, Any]) -> None:
        """Carry out one change, now."""
        CHANGES[change["change"]](self, change)

    def _set_link(self, change: dict[str, Any], is_up: bool) -> None:
        for direction in ("a_to_b", "b_to_a"):
            self._network.change_link(change["link"], direction, LinkChange(is_up=is_up))

    def link_down(self, change: dict[str, Any]) -> None:
        """Lose a link's queues and all that is sent: the radio is out of range."""
        self._set_link(change, False)

    def link_up(self, change: dict[str, Any]) -> None:
        """Let a link carry packets again."""
        self._set_link(change, True)

    def address_gone(self, change: dict[str, Any]) -> None:
        """Take the client's address on a path away, with its endpoint and routes."""
        self._client.address_gone(change["path"])

    def address_back(self, change: dict[str, Any]) -> None:
        """Give it back."""
        self._client.address_back(change["path"])


CHANGES: dict[str, Callable[[Changer, dict[str, Any]], None]] = {
    "link_down": Changer.link_down,
    "link_up": Changer.link_up,
    "address_gone": Changer.address_gone,
    "address_back": Changer.address_back,
}
