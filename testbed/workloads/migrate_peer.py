# SPDX-License-Identifier: Apache-2.0
"""One end of a transfer of the workload `migrate`: python3 -m ... migrate_peer SPEC.json

An end sends or receives, listens or connects. The content follows from a seed. A sender goes on
until SIGUSR1, or for "size_bytes", and then ends its stream; SIGTERM ends either of them where it
is. Each writes how many bytes there were, their SHA-256 and how the connection ended; a receiver
also writes a record `struct "<QI"` of Unix time in ns and bytes for each read.

With "session", the other end of the connection is a proxy that keeps the stream when the machine
moves: SIGUSR2 says that the address has changed, and both tell each other how far they are.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from testbed import content
from testbed.rundir import write_json
from testbed.workloads.bulk_sockets import reason, transport_facts

READY = "ready"
READ = struct.Struct("<QI")
OFFSET = struct.Struct("<Q")
CHUNK_BYTES = 64 << 10
IPPROTO_MPTCP = 262
ENDLESS = 1 << 62

# Reads of 16 KB: 7 ms at 20 Mbit/s, which is how exact times are.
WAKE_BYTES = 16 << 10
CONFIRM_BYTES = 256 << 10


class CutOff(Exception):
    """SIGTERM: the run is over."""


class Peer:
    """What both kinds of ends have in common.

    Args:
        spec: "transport", "seed", "address", "port", "source" (one address per place of the
            machine), "is_listening", "is_session", "results", "reads".
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.size = 0
        self.digest = hashlib.sha256()
        self.times: dict[str, int] = {}
        self.how: str | None = None
        self.is_asked_to_end = self.is_cut_off = self.has_moved = False
        self._places = iter(spec.get("source") or [])
        self.connection: socket.socket | None = None

    def carry_out(self) -> None:
        """Transfer until the end, whatever it is, and write the results."""
        signal.signal(signal.SIGTERM, self._cut_off)
        signal.signal(signal.SIGUSR1, self._end)
        if self.spec["is_session"]:
            signal.signal(signal.SIGUSR2, self._move)
        try:
            self._listen() if self.spec["is_listening"] else self._wait()
            self._transfer()
            self.how = "complete"
        except CutOff:
            self.how = "cut off"
        except OSError as error:
            self.how = reason(error)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._finish()

    def _transfer(self) -> None:
        while True:
            self.has_moved = False
            try:
                if not self.spec["is_listening"]:
                    self._connect()
                self.transfer()
            except OSError:
                if not (self.is_cut_off or self.has_moved):
                    raise
            if self.is_cut_off:
                raise CutOff
            if not self.has_moved:
                return

    def transfer(self) -> None:
        """Transfer until the stream ends."""
        raise NotImplementedError

    def greet(self) -> None:
        """Agree with a proxy on where to go on."""

    def _end(self, *_: object) -> None:
        self.is_asked_to_end = True

    # A signal ends what blocks on the socket; an exception could come between two statements.

    def _move(self, *_: object) -> None:
        self.has_moved = True
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _cut_off(self, *_: object) -> None:
        self.is_cut_off = True
        try:
            if self.connection is None:
                raise CutOff
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            raise CutOff from None

    def _socket(self) -> socket.socket:
        protocol = IPPROTO_MPTCP if self.spec["transport"] == "mptcp" else socket.IPPROTO_TCP
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def _listen(self) -> None:
        with self._socket() as listener:
            listener.bind(("0.0.0.0", self.spec["port"]))
            listener.listen()
            print(READY, flush=True)
            self.connection, _ = listener.accept()
            # Joins find the listener by its port; it stays.
            self._listener = listener.dup()
        self.times["opened_ns"] = time.time_ns()

    def _wait(self) -> None:
        """Connect when the run begins, which a byte on standard input says."""
        print(READY, flush=True)
        with open(self.spec["start"], "rb", buffering=0) as start:  # noqa: PTH123  # a pipe
            start.read(1)

    def _connect(self) -> None:
        self.connection = self._socket()
        if (source := next(self._places, None)) is not None:
            self.connection.bind((source, 0))
        self.connection.connect((self.spec["address"], self.spec["port"]))
        self.times.setdefault("opened_ns", time.time_ns())
        if self.spec["is_session"]:
            self.greet()

    def _finish(self) -> None:
        facts = transport_facts(self.connection) if self.connection is not None else {}
        write_json(
            Path(self.spec["results"]),
            {
                "bytes": self.size,
                "sha256": self.digest.hexdigest(),
                "how": self.how,
                **self.times,
                **facts,
            },
        )


class Sender(Peer):
    """An end that sends."""

    def transfer(self) -> None:
        """Send until it is asked to end, and wait until the receiver has closed."""
        assert self.connection is not None
        at = self._offset if self.spec["is_session"] else 0
        for chunk in _chunks(self.spec["seed"], at, self.spec.get("size_bytes", ENDLESS)):
            if self.is_asked_to_end and at >= self.size:
                break
            self.connection.sendall(chunk)
            fresh = chunk[max(self.size - at, 0) :]
            self.digest.update(fresh)
            self.size += len(fresh)
            at += len(chunk)
        self.times["ended_ns"] = time.time_ns()
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(CHUNK_BYTES):
            pass

    def greet(self) -> None:
        """Hear how far the receiver is."""
        assert self.connection is not None
        (self._offset,) = OFFSET.unpack(_exactly(self.connection, OFFSET.size))
        # What was given to the old connection, and was not counted before it was cut off.
        for chunk in _chunks(self.spec["seed"], self.size):
            fresh = chunk[: max(self._offset - self.size, 0)]
            if not fresh:
                break
            self.digest.update(fresh)
            self.size += len(fresh)


class Receiver(Peer):
    """An end that receives."""

    def carry_out(self) -> None:
        """Receive, and record each read."""
        with Path(self.spec["reads"]).open("wb", buffering=1 << 16) as self._reads:
            super().carry_out()

    def transfer(self) -> None:
        """Read until the stream ends."""
        assert self.connection is not None
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
        confirmed = self.size
        while data := self.connection.recv(4 * CHUNK_BYTES):
            self._note(data, self._reads)
            if self.spec["is_session"] and self.size - confirmed >= CONFIRM_BYTES:
                confirmed = self.size
                self.connection.sendall(OFFSET.pack(confirmed))
        self.connection.close()

    def _note(self, data: bytes, reads: BinaryIO) -> None:
        now_ns = time.time_ns()
        self.times.setdefault("first_ns", now_ns)
        self.times["last_ns"] = now_ns
        if not self.is_cut_off:  # else it was left over, and waited for more
            reads.write(READ.pack(now_ns, len(data)))
        self.digest.update(data)
        self.size += len(data)

    def greet(self) -> None:
        """Say how far we are."""
        assert self.connection is not None
        self.connection.sendall(OFFSET.pack(self.size))


def _chunks(seed: int, first_byte: int, size_bytes: int = ENDLESS) -> Iterator[bytes]:
    for block in content.blocks(seed, size_bytes, first_byte):
        for at in range(0, len(block), CHUNK_BYTES):
            yield block[at : at + CHUNK_BYTES]


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = connection.recv(size - len(found))
        if not data:
            raise ConnectionResetError(104, "the proxy closed the connection")
        found += data
    return found


if __name__ == "__main__":
    said = json.loads(Path(sys.argv[1]).read_text())
    (Receiver if said["is_receiving"] else Sender)(said).carry_out()
    sys.stdout.flush()
    os._exit(0)  # sockets that the kernel still works on are not waited for
