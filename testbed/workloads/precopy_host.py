# SPDX-License-Identifier: Apache-2.0
"""Sends or receives the memory of a virtual machine: python3 -m ... precopy_host SPEC.json

Both speak TCP: the sender says how many bytes come, sends them, and is told how many arrived. What
is dirty when a round has arrived follows from how long it took (testbed.precopy). Before the rest,
the sender asks for the machine to be stopped: it writes a line of JSON for everything that happens,
and waits for a line in return.
"""

import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from testbed.precopy import CATCH_UP, GO_ON, LIMIT, precopy_of
from testbed.workloads.bulk_sockets import reason

READY = "ready"
SIZE = struct.Struct("<Q")
CHUNK = bytes(64 << 10)

# What waits unread takes room in the receive window: 256 KB halved the rate at an RTT of 50 ms.
WAKE_BYTES = 32 << 10

# When nothing has been acknowledged for so long the wide-area link is down (TCP_USER_TIMEOUT).
PATIENCE_S = 20.0
TCP_USER_TIMEOUT = 18
SO_MAX_PACING_RATE = 47


class Source:
    """The host that the machine leaves.

    Args:
        spec: "precopy", "on_limit", "address", "port", "say" and "hear" (paths of pipes).
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._plan = precopy_of(spec)
        self._rounds: list[tuple[int, float]] = []

    def carry_out(self) -> None:
        """Wait for the time to begin, copy, and say how it went."""
        with (
            Path(self._spec["say"]).open("w") as self._say,
            Path(self._spec["hear"]).open() as hear,
        ):
            print(READY, flush=True)
            hear.readline()
            try:
                self._copy(hear)
            except OSError as error:
                self._tell("failed", why=f"the memory could not be sent: {reason(error)}")

    def _copy(self, hear: TextIO) -> None:
        self._connection = socket.create_connection(
            (self._spec["address"], self._spec["port"]), timeout=PATIENCE_S
        )
        self._connection.settimeout(None)
        patience_ms = round(PATIENCE_S * 1000)
        self._connection.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, patience_ms)
        # Else the last piece of a round waits for the delayed ACK of the one before it (QEMU too).
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pace = round(CATCH_UP * self._plan.bandwidth_bytes_per_s)
        self._connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, pace)
        left = self._plan.memory_bytes
        while True:
            left = self._round(left)
            end = self._plan.decide(self._rounds, left)
            if end != GO_ON:
                break
        if end == LIMIT and self._spec["on_limit"] == "abort":
            self._tell("failed", why="the rounds did not converge")
            return
        self._tell("converged" if end != LIMIT else "limit", left_bytes=left)
        hear.readline()
        self._send(left)
        self._tell("copied", bytes=left)

    def _round(self, size: int) -> int:
        """Send a round and return what it has left dirty."""
        started_ns = time.monotonic_ns()
        arrived = self._send(size)
        ended_ns = time.monotonic_ns()
        self._rounds.append((arrived, (ended_ns - started_ns) / 1e9))
        left = self._plan.left_bytes(self._rounds[-1][1])
        self._tell("round", started_ns=started_ns, bytes=arrived, left_bytes=left)
        return left

    def _send(self, size: int) -> int:
        """Send bytes no faster than the migration may and return how many got through."""
        self._connection.sendall(SIZE.pack(size))
        first_ns, sent = time.monotonic_ns(), 0
        while sent < size:
            chunk = min(len(CHUNK), size - sent)
            self._connection.sendall(CHUNK[:chunk])
            sent += chunk
            due_ns = first_ns + round(sent / self._plan.bandwidth_bytes_per_s * 1e9)
            if (wait_ns := due_ns - time.monotonic_ns()) > 0:
                time.sleep(wait_ns / 1e9)
        answer = b""
        while len(answer) < SIZE.size:
            part = self._connection.recv(SIZE.size - len(answer))
            if not part:
                raise ConnectionResetError(104, "the other host closed the connection")
            answer += part
        (arrived,) = SIZE.unpack(answer)
        return int(arrived)

    def _tell(self, what: str, **more: Any) -> None:
        said = {"what": what, "t_ns": time.monotonic_ns(), **more}
        self._say.write(json.dumps(said) + "\n")
        self._say.flush()


def receive(spec: dict[str, Any]) -> None:
    """Take rounds until the sender closes, and say after each how much it was."""
    with socket.create_server(("0.0.0.0", spec["port"])) as listener:
        print(READY, flush=True)
        connection, _ = listener.accept()
        buffer = bytearray(1 << 20)
        while head := connection.recv(SIZE.size, socket.MSG_WAITALL):
            (size,) = SIZE.unpack(head)
            left = size
            while left:
                wake = min(WAKE_BYTES, left)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wake)
                got = connection.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC)
                if not got:
                    return
                left -= got
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            connection.sendall(SIZE.pack(size))


if __name__ == "__main__":
    said = json.loads(Path(sys.argv[1]).read_text())
    receive(said) if said["is_receiving"] else Source(said).carry_out()
