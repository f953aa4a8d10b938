# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family mptcp_pm: limits and endpoints of the in-kernel path manager."""

import socket
import struct
from dataclasses import dataclass

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
ADD_ADDR = 1
DEL_ADDR = 2
SET_LIMITS = 5
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


@dataclass(frozen=True)
class Endpoint:
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
    """The path manager of the network namespace in which this is made."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        self._family = _family_id(self._socket)

    def set_limits(self, subflows: int, add_addr_accepted: int) -> None:
        """Set how many additional subflows, and announced addresses, a connection may use."""
        body = u32(MPTCP_PM_ATTR_RCV_ADD_ADDRS, add_addr_accepted)
        body += u32(MPTCP_PM_ATTR_SUBFLOWS, subflows)
        self._send(SET_LIMITS, body, "set the MPTCP limits")

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint; connections open their subflows at once."""
        body = u16(ADDR_FAMILY, socket.AF_INET) + u8(ADDR_ID, endpoint.identifier)
        body += attr(ADDR_ADDR4, socket.inet_aton(endpoint.address))
        body += u32(ADDR_FLAGS, sum(FLAGS[flag] for flag in endpoint.flags))
        body += u32(ADDR_IF_IDX, endpoint.interface_index)
        what = f"add the MPTCP endpoint {endpoint.address}"
        self._send(ADD_ADDR, nested(MPTCP_PM_ATTR_ADDR, body), what)

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Delete an endpoint; connections close its subflows."""
        body = u16(ADDR_FAMILY, socket.AF_INET) + u8(ADDR_ID, endpoint.identifier)
        body += attr(ADDR_ADDR4, socket.inet_aton(endpoint.address))
        what = f"delete the MPTCP endpoint {endpoint.address}"
        self._send(DEL_ADDR, nested(MPTCP_PM_ATTR_ADDR, body), what)

    def _send(self, command: int, body: bytes, what: str) -> None:
        self._socket.request(message(self._family, 0, _GENL.pack(command, 1, 0) + body), what)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _family_id(genl: NetlinkSocket) -> int:
    body = _GENL.pack(CTRL_CMD_GETFAMILY, 2, 0) + text(CTRL_ATTR_FAMILY_NAME, "mptcp_pm")
    # The acknowledgement after the answer ends the reading.
    for kind, _, answer in split_messages(genl.dump(message(GENL_ID_CTRL, NLM_F_ACK, body))):
        if kind == GENL_ID_CTRL:
            identifier = split_attrs(answer[_GENL.size :])[CTRL_ATTR_FAMILY_ID]
            return int(struct.unpack("=H", identifier)[0])
    raise PrerequisiteError(
        "this kernel has no MPTCP; use the lab, or a kernel built with CONFIG_MPTCP"
    )
