# SPDX-License-Identifier: Apache-2.0
"""The process that receives all bulk flows: python3 -m testbed.workloads.bulk_receiver SPEC.json

SO_RCVLOWAT lets it sleep until there is something to read at once: a block when blocks are
recorded, else up to some hundred kilobytes. That is what makes it cheap. What waits unread takes
room in the receive window, so it is a small share of the receive buffer, which grows; a fixed
256 KB kept a TCP connection at 84 of 800 Mbit/s.
"""

import contextlib
import select
import socket
import time
from pathlib import Path
from typing import Any, BinaryIO

from testbed.workloads.bulk_flow import (
    BLOCK_HEAD,
    BLOCK_RECORD,
    DEFAULT_BLOCK_BYTES,
    UP,
    Flow,
)
from testbed.workloads.bulk_side import Side, run_side
from testbed.workloads.bulk_sockets import reason

WAKE_BYTES = 256 << 10
READ_BYTES = 4 << 20

# Parts of the receive buffer, of which the kernel offers one half as a window.
WAKE_SHARE = 32
BLOCK_WAKE_SHARE = 8
WAKES_PER_LOOK = 16
FILE_BUFFER_BYTES = 1 << 20


class Incoming:
    """One flow that is being received.

    Args:
        side: the process it belongs to.
        flow: as planned.
        connection: from the sender.
        wake_bytes: read when so much is there, at most.
    """

    def __init__(
        self, side: "Receiver", flow: Flow, connection: socket.socket, wake_bytes: int
    ) -> None:
        self._side = side
        self._flow = flow
        self._connection = connection
        self._wake_bytes = wake_bytes
        self._low_bytes = 1
        self._look_at_bytes = 0
        self._report = side.reports[flow.id] | {"bytes": 0}
        side.reports[flow.id] = self._report

    def start(self) -> None:
        """Wait for the first byte, whose time is wanted, and then for more at once."""
        self._wake_at(1)
        self._side.loop.watch(self._connection.fileno(), select.EPOLLIN, self._read)

    def _wake_at(self, size: int) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _buffer_bytes(self) -> int:
        return self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def _sleep_longer(self) -> None:
        """Follow the receive buffer, which the kernel lets grow."""
        wanted = max(1, min(self._wake_bytes, self._buffer_bytes() // WAKE_SHARE))
        if wanted > self._low_bytes:
            self._low_bytes = wanted
            self._wake_at(wanted)
        self._look_at_bytes = self._report["bytes"] + WAKES_PER_LOOK * self._low_bytes

    def _read(self) -> None:
        try:
            size = self._receive()
        except BlockingIOError:
            return
        except OSError as error:
            self._side.fail(self._flow, f"was cut off: {reason(error)}")
            return
        if size == 0:
            self._end()
            return
        self._note(size)

    def _receive(self) -> int:
        """Take what is there without looking at it: MSG_TRUNC saves the copy."""
        return self._connection.recv_into(self._side.buffer, READ_BYTES, socket.MSG_TRUNC)

    def _note(self, size: int) -> None:
        now_ns = time.monotonic_ns()
        if not self._report["bytes"]:
            self._report["first_ns"] = now_ns
        self._report["bytes"] += size
        self._report["last_ns"] = now_ns
        self._set_wake()

    def _set_wake(self) -> None:
        """Decide how much must be there to wake us next."""
        if self._low_bytes < self._wake_bytes and self._report["bytes"] >= self._look_at_bytes:
            self._sleep_longer()

    def drain(self) -> None:
        """Read what has arrived and has not woken us."""
        with contextlib.suppress(OSError):
            while size := self._receive():
                self._note(size)

    def _end(self) -> None:
        wanted, found = self._flow.size_bytes, self._report["bytes"]
        if wanted is not None and self._flow.duration_s is None and found != wanted:
            self._side.fail(self._flow, f"ended after {found} of {wanted} bytes")
        else:
            self._side.done(self._flow)


class IncomingBlocks(Incoming):
    """A flow whose blocks are recorded."""

    def __init__(
        self, side: "Receiver", flow: Flow, connection: socket.socket, blocks: BinaryIO
    ) -> None:
        self._block_bytes = flow.block_bytes or DEFAULT_BLOCK_BYTES
        super().__init__(side, flow, connection, self._block_bytes)
        self._blocks = blocks
        self._block = bytearray(self._block_bytes)
        self._filled = 0
        self._most_bytes = 0  # that we let wait

    def _receive(self) -> int:
        """Read to the end of the block at most, and record the block that is complete."""
        room = memoryview(self._block)[self._filled :]
        size = self._connection.recv_into(room)
        self._filled += size
        if self._filled == self._block_bytes:
            received_ns = time.time_ns()
            sent_ns, flow, block_bytes = BLOCK_HEAD.unpack_from(self._block)
            self._blocks.write(BLOCK_RECORD.pack(flow, block_bytes, sent_ns, received_ns))
            self._filled = 0
        return size

    def _set_wake(self) -> None:
        if not self._most_bytes:
            self._most_bytes = max(1, self._buffer_bytes() // BLOCK_WAKE_SHARE)
        wanted = min(self._block_bytes - self._filled, self._most_bytes)
        if wanted != self._low_bytes:
            self._low_bytes = wanted
            self._wake_at(wanted)


class Receiver(Side):
    """The receiving process."""

    serves = UP

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self.buffer = bytearray(READ_BYTES)
        self._incoming: dict[int, Incoming] = {}
        self._blocks_path = Path(spec["blocks"])
        self._blocks: BinaryIO | None = None

    def carry_out(self) -> None:
        """Receive; the blocks are all in their file in the end."""
        if not self.records_blocks:
            super().carry_out()
            return
        with self._blocks_path.open("wb", buffering=FILE_BUFFER_BYTES) as self._blocks:
            super().carry_out()

    def _start(self, start_ns: int) -> None:
        super()._start(start_ns)
        for at_s in self.plan.get("marks_s", []):
            self.loop.at(self.time_ns(at_s), self._mark)

    def _mark(self) -> None:
        """Note how much each flow has brought until now."""
        for number, report in self.reports.items():
            if number in self._incoming and not self.is_ended(self.flows[number]):
                self._incoming[number].drain()
                report = self.reports[number]
            report.setdefault("marks", []).append(report.get("bytes", 0))

    def opened(self, flow: Flow, connection: socket.socket) -> None:
        """Begin to read."""
        if self._blocks is not None:
            incoming: Incoming = IncomingBlocks(self, flow, connection, self._blocks)
        else:
            wake_bytes = int(self.plan.get("wake_bytes") or WAKE_BYTES)
            incoming = Incoming(self, flow, connection, wake_bytes)
        self._incoming[flow.id] = incoming
        incoming.start()

    def stopped(self, flow: Flow) -> None:
        """Count what has arrived."""
        if flow.id in self._incoming:
            self._incoming[flow.id].drain()


if __name__ == "__main__":
    run_side(Receiver)
