# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family mptcp_pm: limits, endpoints and events of the path manager."""

import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

from testbed.errors import PrerequisiteError
from testbed.netlink.message import (
    NLM_F_ACK,
    NetlinkSocket,
    attr,
    message,
    nested,
    split_attrs,
    split_messages,
    text,
    u8,
    u16,
    u32,
)

# include/uapi/linux/genetlink.h, mptcp_pm.h
NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
CTRL_ATTR_MCAST_GROUPS = 7
CTRL_ATTR_MCAST_GRP_NAME = 1
CTRL_ATTR_MCAST_GRP_ID = 2
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

_GENL = struct.Struct("=BBH")


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
        self.family = family if family is not None else _family(self._socket)[0]

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
            asked = _GENL.pack(ADD_ADDR, 1, 0) + nested(MPTCP_PM_ATTR_ADDR, body)
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
        self._socket.request(message(self.family, 0, _GENL.pack(command, 1, 0) + body), what)

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
    _, groups = _family(events)
    events.join(groups[EVENT_GROUP])
    return events


def _family(genl: NetlinkSocket) -> tuple[int, dict[str, int]]:
    """Return the number of the family and those of its multicast groups by name."""
    body = _GENL.pack(CTRL_CMD_GETFAMILY, 2, 0) + text(CTRL_ATTR_FAMILY_NAME, "mptcp_pm")
    # The acknowledgement after the answer ends the reading.
    for kind, _, answer in split_messages(genl.dump(message(GENL_ID_CTRL, NLM_F_ACK, body))):
        if kind == GENL_ID_CTRL:
            attrs = split_attrs(answer[_GENL.size :])
            (number,) = struct.unpack("=H", attrs[CTRL_ATTR_FAMILY_ID])
            return number, _groups(attrs.get(CTRL_ATTR_MCAST_GROUPS, b""))
    raise PrerequisiteError(
        "this kernel has no MPTCP; use the lab, or a kernel built with CONFIG_MPTCP"
    )


def _groups(data: bytes) -> dict[str, int]:
    groups = {}
    for entry in split_attrs(data).values():
        attrs = split_attrs(entry)
        name = attrs[CTRL_ATTR_MCAST_GRP_NAME].rstrip(b"\0").decode()
        groups[name] = struct.unpack("=I", attrs[CTRL_ATTR_MCAST_GRP_ID])[0]
    return groups
