# SPDX-License-Identifier: Apache-2.0
"""MPTCP events of a node: connections and subflows that come and go, into
raw/<node>.mptcp_events.bin.

The file is a sequence of records, each `struct "<QI"` of the Unix time in ns and the length, and
then so many bytes of generic netlink messages as the kernel sent them. `ip mptcp monitor` shows
the same.
"""

import struct
import time
from pathlib import Path

from testbed.emulation.network import Node
from testbed.netlink.mptcp import subscribe_events

RECORD = struct.Struct("<QI")


class MptcpEventsCollector:
    """Receives the events of one node.

    Args:
        node: whose connections.
        file: where the records go.
    """

    def __init__(self, node: Node, file: Path) -> None:
        with node.namespace.inside():
            self._socket = subscribe_events()
        self._file = file.open("wb")

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with an event."""
        return self._socket.fileno()

    def take(self) -> None:
        """Record what has come."""
        while data := self._socket.receive():
            self._file.write(RECORD.pack(time.time_ns(), len(data)) + data)

    def close(self) -> None:
        """Record what is left."""
        self.take()
        self._file.close()
        self._socket.close()
