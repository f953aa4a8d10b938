# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family mptcp_pm: limits, endpoints and events of the path manager."""

import socket
from collections.abc import Iterable
from typing import NamedTuple

from testbed.netlink.generic import GENL, NETLINK_GENERIC, find_family
from testbed.netlink.message import (
    NetlinkSocket,
    attr,
    message,
    nested,
    u8,
    u16,
    u32,
)

# include/uapi/linux/mptcp_pm.h
ADD_ADDR = 1
DEL_ADDR = 2
SET_LIMITS = 5
SET_FLAGS = 7
EVENT_GROUP = "mptcp_pm_events"
MPTCP_PM_ATTR_ADDR = 1
MPTCP_PM_ATTR_RCV_ADD_ADDRS = 2
MPTCP_PM_ATTR_SUBFLOWS = 3
ADDR_FAMILY = 1
ADDR_ID = 2
ADDR_ADDR4 = 3
ADDR_FLAGS = 6
ADDR_IF_IDX = 7
FLAGS = {"signal": 1, "subflow": 2, "backup": 4, "fullmesh": 8}

MISSING = "this kernel has no MPTCP; use the lab, or a kernel built with CONFIG_MPTCP"


class Endpoint(NamedTuple):
    """An MPTCP endpoint.

    Attributes:
        address: IPv4.
        identifier: address id, 1 to 255.
        flags: of signal, subflow, backup, fullmesh.
        interface_index: the interface its subflows use.
    """

    address: str
    identifier: int
    flags: tuple[str, ...]
    interface_index: int


class PathManager:
    """The path manager of the network namespace in which this is made.

    Args:
        family: the number of the generic netlink family, the same in all namespaces; looked up
            when None.
    """

    def __init__(self, family: int | None = None) -> None:
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        self.family = (
            family if family is not None else find_family(self._socket, "mptcp_pm", MISSING)[0]
        )

    def set_limits(self, subflows: int, add_addr_accepted: int) -> None:
        """Set how many additional subflows, and announced addresses, a connection may use."""
        body = u32(MPTCP_PM_ATTR_RCV_ADD_ADDRS, add_addr_accepted)
        body += u32(MPTCP_PM_ATTR_SUBFLOWS, subflows)
        self._send(SET_LIMITS, body, "set the MPTCP limits")

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint; connections open their subflows at once."""
        self.add_endpoints([endpoint])

    def add_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Add endpoints with as few system calls as possible."""
        for endpoint in endpoints:
            body = _identity(endpoint) + _flags(endpoint.flags)
            body += u32(ADDR_IF_IDX, endpoint.interface_index)
            asked = GENL.pack(ADD_ADDR, 1, 0) + nested(MPTCP_PM_ATTR_ADDR, body)
            what = f"add the MPTCP endpoint {endpoint.address}"
            self._socket.add(message(self.family, 0, asked), what)
        self._socket.flush()

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Delete an endpoint; connections close its subflows."""
        what = f"delete the MPTCP endpoint {endpoint.address}"
        self._send(DEL_ADDR, nested(MPTCP_PM_ATTR_ADDR, _identity(endpoint)), what)

    def set_backup(self, endpoint: Endpoint, is_backup: bool) -> None:
        """Make an endpoint a backup or no backup; connections tell their peers by MP_PRIO."""
        body = _identity(endpoint) + _flags(("backup",) if is_backup else ())
        what = f"change the MPTCP endpoint {endpoint.address}"
        self._send(SET_FLAGS, nested(MPTCP_PM_ATTR_ADDR, body), what)

    def _send(self, command: int, body: bytes, what: str) -> None:
        self._socket.request(message(self.family, 0, GENL.pack(command, 1, 0) + body), what)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _identity(endpoint: Endpoint) -> bytes:
    body = u16(ADDR_FAMILY, socket.AF_INET) + u8(ADDR_ID, endpoint.identifier)
    return body + attr(ADDR_ADDR4, socket.inet_aton(endpoint.address))


def _flags(names: tuple[str, ...]) -> bytes:
    return u32(ADDR_FLAGS, sum(FLAGS[name] for name in names))


def subscribe_events() -> NetlinkSocket:
    """Return a socket that receives the MPTCP events of the namespace in which this is called.

    Raises:
        PrerequisiteError: the kernel has none.
    """
    events = NetlinkSocket(NETLINK_GENERIC)
    _, groups = find_family(events, "mptcp_pm", MISSING)
    events.join(groups[EVENT_GROUP])
    return events
