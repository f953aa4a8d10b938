# SPDX-License-Identifier: Apache-2.0
"""Segments between a client and a server, as dataclasses."""

import socket

from testbed.packet import ACK, MPTCP, Option, Segment

CLIENT, SERVER, PORT, CLIENT_PORT = "10.0.1.2", "10.0.3.1", 7001, 40001
SIZE, CLIENT_ISN, SERVER_ISN = 1000, 100, 2**32 - 3000
DSS_OPTION = Option(MPTCP, b"\x20" + bytes(17))
CAPABLE = Option(MPTCP, b"\x01\x81")
MSS_OPTION = Option(2, b"\x05\xb4")


def segment(*, is_down=True, **said):
    """Return a segment to the client, or from it."""
    ends = (SERVER, CLIENT, PORT, CLIENT_PORT) if is_down else (CLIENT, SERVER, CLIENT_PORT, PORT)
    made = {"seq": 1, "ack": 1, "flags": ACK, "window": 500, **said}
    return Segment(*(socket.inet_aton(end) for end in ends[:2]), *ends[2:], **made)
