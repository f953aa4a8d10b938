# SPDX-License-Identifier: Apache-2.0
"""sock_diag: all sockets of a namespace with their TCP_INFO and MPTCP_INFO (sock_diag(7))."""

import socket
import struct

from testbed.netlink.message import NLM_F_DUMP, message, u32

# include/uapi/linux/sock_diag.h, inet_diag.h, mptcp.h
SOCK_DIAG_BY_FAMILY = 20
NETLINK_SOCK_DIAG = 4
INET_DIAG_REQ_PROTOCOL = 3
IPPROTO_MPTCP = 262
EXTENSIONS = ("MEMINFO", "INFO", "VEGASINFO", "CONG", "TOS", "TCLASS", "SKMEMINFO")
WANTED_EXTENSIONS = ("INFO", "CONG", "SKMEMINFO")
ALL_STATES = 0xFFFFFFFF

# struct inet_diag_req_v2 with an empty struct inet_diag_sockid
_REQUEST = struct.Struct("=BBBxI48x")


def dump_sockets(protocol: int) -> bytes:
    """Return the request for all IPv4 sockets of IPPROTO_TCP or IPPROTO_MPTCP."""
    extensions = sum(1 << EXTENSIONS.index(name) for name in WANTED_EXTENSIONS)
    # The field has eight bits; MPTCP's number needs an attribute of its own.
    body = _REQUEST.pack(socket.AF_INET, protocol & 0xFF, extensions, ALL_STATES)
    if protocol > 0xFF:
        body += u32(INET_DIAG_REQ_PROTOCOL, protocol)
    return message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body)
