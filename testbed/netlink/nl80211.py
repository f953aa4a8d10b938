# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family nl80211: wireless interfaces, and in which namespace a radio is."""

from testbed.netlink.generic import GENL, NETLINK_GENERIC, find_family
from testbed.netlink.message import NetlinkSocket, attr, message, text, u32

MISSING = "this kernel has no 802.11; use the lab, and build its kernel anew"

# include/uapi/linux/nl80211.h
NEW_INTERFACE = 7
SET_WIPHY_NETNS = 49
ATTR_WIPHY = 1
ATTR_IFNAME = 4
ATTR_IFTYPE = 5
ATTR_MAC = 6
ATTR_NETNS_FD = 219
IFTYPE_STATION = 2
IFTYPE_AP = 3


class Wireless:
    """The wireless interfaces of the network namespace in which this is made.

    Raises:
        PrerequisiteError: the kernel has no 802.11.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        self._family, _ = find_family(self._socket, "nl80211", MISSING)

    def move_radio(self, wiphy: int, namespace_fd: int) -> None:
        """Move a radio, with its interfaces, to another network namespace."""
        body = u32(ATTR_WIPHY, wiphy) + u32(ATTR_NETNS_FD, namespace_fd)
        self._request(SET_WIPHY_NETNS, body, f"move the radio {wiphy}")

    def new_interface(self, wiphy: int, name: str, kind: int, mac: bytes) -> None:
        """Make an interface of a radio.

        Args:
            wiphy: the radio's number, as cfg80211 counts.
            name: of the interface.
            kind: IFTYPE_STATION or IFTYPE_AP.
            mac: its address.
        """
        body = u32(ATTR_WIPHY, wiphy) + text(ATTR_IFNAME, name) + u32(ATTR_IFTYPE, kind)
        self._request(NEW_INTERFACE, body + attr(ATTR_MAC, mac), f"make the interface {name}")

    def _request(self, command: int, body: bytes, what: str) -> None:
        self._socket.request(message(self._family, 0, GENL.pack(command, 0, 0) + body), what)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
