# SPDX-License-Identifier: Apache-2.0
"""Socket statistics: what the kernel says of every socket, into raw/<node>.ss.bin.

The file is a sequence of records, each `struct "<QII"` of the Unix time in ns, the protocol
(6 for TCP, 262 for MPTCP) and the length, and then so many bytes of netlink messages.
"""

import socket
import struct
import time
from pathlib import Path

from testbed.emulation.network import Node
from testbed.netlink.message import NetlinkSocket
from testbed.netlink.sock_diag import IPPROTO_MPTCP, NETLINK_SOCK_DIAG, dump_sockets

RECORD = struct.Struct("<QII")
PROTOCOLS = (socket.IPPROTO_TCP, IPPROTO_MPTCP)


class SsCollector:
    """Samples the sockets of one node.

    Args:
        node: whose sockets.
        file: where the records go.
    """

    def __init__(self, node: Node, file: Path) -> None:
        with node.namespace.inside():
            self._socket = NetlinkSocket(NETLINK_SOCK_DIAG)
        self._file = file.open("wb", buffering=1 << 20)

    def sample(self) -> None:
        """Record every socket, now."""
        for protocol in PROTOCOLS:
            answer = self._socket.dump(dump_sockets(protocol))
            self._file.write(RECORD.pack(time.time_ns(), protocol, len(answer)) + answer)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._socket.close()
