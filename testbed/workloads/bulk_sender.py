# SPDX-License-Identifier: Apache-2.0
"""The process that sends all bulk flows: python3 -m testbed.workloads.bulk_sender SPEC.json

A flow sends until the socket takes no more and then waits for room. When it has sent all, or its
time is up, it says so and waits until the receiver has read everything.
"""

import select
import socket
import time

from testbed.workloads.bulk_flow import BLOCK_HEAD, DEFAULT_BLOCK_BYTES, DOWN, Flow
from testbed.workloads.bulk_side import Side, run_side
from testbed.workloads.bulk_sockets import reason

# As much as a socket could take at once.
CHUNK = memoryview(bytes(1 << 20))
FAREWELL_BYTES = 64


class Outgoing:
    """One flow that is being sent.

    Args:
        side: the process it belongs to.
        flow: as planned.
        connection: to the receiver.
    """

    def __init__(self, side: "Sender", flow: Flow, connection: socket.socket) -> None:
        self._side = side
        self._flow = flow
        self._connection = connection
        self._report = side.reports[flow.id] | {"sent_bytes": 0}
        side.reports[flow.id] = self._report
        has_blocks = side.records_blocks or flow.rate_bps is not None or flow.block_bytes
        self._block_bytes = (flow.block_bytes or DEFAULT_BLOCK_BYTES) if has_blocks else len(CHUNK)
        self._first_ns = time.monotonic_ns()
        self._blocks = 0
        self._begun_bytes = 0  # of the blocks begun so far
        self._rest = memoryview(b"")  # of the block that is being sent
        self._is_over = False

    def start(self) -> None:
        """Send, now and until the time is up."""
        if self._flow.duration_s is not None:
            end_ns = self._side.time_ns(self._flow.start_s + self._flow.duration_s)
            self._side.loop.at(end_ns, self._finish)
        self._send()

    def _send(self) -> None:
        """Send as many blocks as the application has and the socket takes."""
        if self._is_over or self._side.is_ended(self._flow):
            return
        try:
            while self._rest or self._begin_block():
                sent = self._connection.send(self._rest)
                self._report["sent_bytes"] += sent
                self._rest = self._rest[sent:]
                if self._rest:
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            self._side.fail(self._flow, f"cannot send: {reason(error)}")
            return
        if self._rest:
            self._side.loop.watch(self._connection.fileno(), select.EPOLLOUT, self._send)

    def _begin_block(self) -> bool:
        """Take the next block from the application; False if there is none now."""
        size = self._block_bytes
        if self._flow.size_bytes is not None:
            size = min(size, self._flow.size_bytes - self._begun_bytes)
        if size == 0:
            self._finish()
            return False
        due_ns = self._first_ns + self._flow.due_ns(self._blocks)
        if self._flow.rate_bps is not None and due_ns > time.monotonic_ns():
            self._side.loop.unwatch(self._connection.fileno())
            self._side.loop.at(due_ns, self._send)
            return False
        self._rest = self._block(size, due_ns)
        self._begun_bytes += size
        self._blocks += 1
        return True

    def _block(self, size: int, due_ns: int) -> memoryview:
        if not self._side.records_blocks or size < BLOCK_HEAD.size:
            return CHUNK[:size] if size <= len(CHUNK) else memoryview(bytes(size))
        block = bytearray(size)
        # A source that has its rate has the block when it is due, whenever we come to send it.
        now_ns = time.time_ns()
        if self._flow.rate_bps is not None:
            now_ns -= time.monotonic_ns() - due_ns
        BLOCK_HEAD.pack_into(block, 0, now_ns, self._flow.id, size)
        return memoryview(block)

    def _finish(self) -> None:
        """Send no more and wait until the receiver has everything."""
        if self._is_over or self._side.is_ended(self._flow):
            return
        self._is_over = True
        self._report["stopped_ns"] = time.monotonic_ns()
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._side.fail(self._flow, f"cannot end its connection: {reason(error)}")
            return
        self._side.loop.watch(self._connection.fileno(), select.EPOLLIN, self._read_farewell)

    def _read_farewell(self) -> None:
        try:
            self._connection.recv(FAREWELL_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._side.fail(self._flow, f"was cut off: {reason(error)}")
            return
        self._side.done(self._flow)


class Sender(Side):
    """The sending process."""

    serves = DOWN

    def opened(self, flow: Flow, connection: socket.socket) -> None:
        """Begin to send."""
        self.loop.unwatch(connection.fileno())
        Outgoing(self, flow, connection).start()

    def stopped(self, flow: Flow) -> None:
        """Do nothing: what the receiver has counts."""


if __name__ == "__main__":
    run_side(Sender)
