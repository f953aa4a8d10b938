# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family mptcp_pm: what a path manager in userspace asks of one connection.

A connection is named by its token, whatever its addresses are. The kernel takes these commands
only for connections that were made while net.mptcp.path_manager was `userspace`.
"""

import socket
from typing import NamedTuple

from testbed.netlink.message import attr, nested, u8, u16, u32
from testbed.netlink.mptcp import (
    ADDR_ADDR4,
    ADDR_FAMILY,
    ADDR_FLAGS,
    ADDR_ID,
    ADDR_IF_IDX,
    FLAGS,
    MPTCP_PM_ATTR_ADDR,
    SET_FLAGS,
    PathManager,
)

# include/uapi/linux/mptcp_pm.h
ANNOUNCE = 8
REMOVE = 9
SUBFLOW_CREATE = 10
SUBFLOW_DESTROY = 11
MPTCP_PM_ATTR_TOKEN = 4
MPTCP_PM_ATTR_LOC_ID = 5
MPTCP_PM_ATTR_ADDR_REMOTE = 6
ADDR_PORT = 5


class End(NamedTuple):
    """One end of a subflow.

    Attributes:
        address: IPv4.
        port: 0 where it does not matter.
    """

    address: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.address}:{self.port}" if self.port else self.address


class Source(NamedTuple):
    """An address of ours that a connection is to use.

    Attributes:
        address: IPv4.
        identifier: address id within the connection, 1 to 255.
        interface_index: of the interface its subflows leave by; 0: as the routes lead.
    """

    address: str
    identifier: int
    interface_index: int = 0


class ConnectionManager(PathManager):
    """Commands on connections of the network namespace in which this is made."""

    def announce(self, token: int, source: Source) -> None:
        """Tell the peer of an address of ours (ADD_ADDR); it may open subflows to it."""
        body = nested(MPTCP_PM_ATTR_ADDR, _source(source, FLAGS["signal"]))
        self._send(ANNOUNCE, _token(token) + body, f"announce {source.address}")

    def remove(self, token: int, identifier: int) -> None:
        """Tell the peer that an address is gone (REMOVE_ADDR); it closes its subflows to it."""
        body = _token(token) + u8(MPTCP_PM_ATTR_LOC_ID, identifier)
        self._send(REMOVE, body, f"remove the address with the id {identifier}")

    def create_subflow(
        self, token: int, source: Source, remote: End, *, is_backup: bool = False
    ) -> None:
        """Open a subflow (MP_JOIN) from an address of ours."""
        flags = FLAGS["subflow"] | (FLAGS["backup"] if is_backup else 0)
        body = nested(MPTCP_PM_ATTR_ADDR, _source(source, flags))
        what = f"open a subflow from {source.address} to {remote}"
        self._send(SUBFLOW_CREATE, _token(token) + body + _remote(remote), what)

    def destroy_subflow(self, token: int, local: End, remote: End) -> None:
        """Close a subflow; what it has not delivered is sent again on the others."""
        body = nested(MPTCP_PM_ATTR_ADDR, _end(local))
        what = f"close the subflow from {local} to {remote}"
        self._send(SUBFLOW_DESTROY, _token(token) + body + _remote(remote), what)

    def set_subflow_backup(self, token: int, local: End, remote: End, is_backup: bool) -> None:
        """Make a subflow a backup or no backup, and tell the peer (MP_PRIO)."""
        flags = u32(ADDR_FLAGS, FLAGS["backup"] if is_backup else 0)
        body = nested(MPTCP_PM_ATTR_ADDR, _end(local), flags)
        what = f"change the priority of the subflow from {local} to {remote}"
        self._send(SET_FLAGS, _token(token) + body + _remote(remote), what)


def _token(token: int) -> bytes:
    return u32(MPTCP_PM_ATTR_TOKEN, token)


def _source(source: Source, flags: int) -> bytes:
    body = _end(End(source.address)) + u8(ADDR_ID, source.identifier) + u32(ADDR_FLAGS, flags)
    return body + (u32(ADDR_IF_IDX, source.interface_index) if source.interface_index else b"")


def _remote(remote: End) -> bytes:
    return nested(MPTCP_PM_ATTR_ADDR_REMOTE, _end(remote))


def _end(end: End) -> bytes:
    # Unlike in the kernel's events, a port is in host order here.
    body = u16(ADDR_FAMILY, socket.AF_INET) + attr(ADDR_ADDR4, socket.inet_aton(end.address))
    return body + (u16(ADDR_PORT, end.port) if end.port else b"")
