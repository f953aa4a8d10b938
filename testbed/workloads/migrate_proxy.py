# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that keeps a stream while one of its ends moves: python3 -m ... SPEC.json

The machine connects, and connects again from its new address; the other end sees one connection.
So both the proxy and the machine's programs must know a protocol of sessions: the receiver says how
many bytes it has, the sender goes on from there, and the proxy keeps what is not confirmed. That is
what MPTCP does below the application.
"""

import json
import select
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from testbed.workloads.migrate_peer import OFFSET

READY = "ready"
READ_BYTES = 64 << 10
# As much as is kept for a machine that stands still.
KEPT_BYTES = 8 << 20


class Session:
    """One stream: from the machine to a peer, or from a peer to the machine.

    Args:
        listener: where the machine connects.
        connect: returns a connection to the peer.
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
        self._listener = listener
        self._connect = connect

    def accept(self) -> socket.socket:
        """Return the machine's next connection."""
        machine, _ = self._listener.accept()
        return machine

    def carry_out(self) -> None:
        """Pass the stream on until it ends."""
        raise NotImplementedError


class FromMachine(Session):
    """A stream that the machine sends."""

    def carry_out(self) -> None:
        """Pass on what comes from the machine's latest connection."""
        machine, passed = self.accept(), 0
        peer = self._connect()
        machine.sendall(OFFSET.pack(passed))
        while True:
            ready, _, _ = select.select([self._listener, machine], [], [])
            if self._listener in ready:
                machine.close()
                machine = self.accept()
                machine.sendall(OFFSET.pack(passed))
                continue
            try:
                data = machine.recv(READ_BYTES)
            except OSError:
                machine = self.accept()
                machine.sendall(OFFSET.pack(passed))
                continue
            if not data:
                break
            peer.sendall(data)
            passed += len(data)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(READ_BYTES):
            pass
        machine.close()


class ToMachine(Session):
    """A stream that the machine receives."""

    def carry_out(self) -> None:
        """Keep what the machine has not confirmed, and send it again where it connects again."""
        self._kept, self._first, self._at = bytearray(), 0, 0
        self._is_ended = False
        machine = self._begin()
        peer = self._connect()
        while not self._is_ended or self._kept:
            machine = self._pass_on(machine, peer)

    def _begin(self) -> socket.socket:
        machine = self.accept()
        (self._at,) = OFFSET.unpack(machine.recv(OFFSET.size, socket.MSG_WAITALL))
        machine.setblocking(False)
        return machine

    def _pass_on(self, machine: socket.socket, peer: socket.socket) -> socket.socket:
        has_room = len(self._kept) < KEPT_BYTES and not self._is_ended
        has_more = self._at < self._first + len(self._kept)
        readable = [self._listener, machine, *([peer] if has_room else [])]
        ready, writable, _ = select.select(readable, [machine] if has_more else [], [])
        if self._listener in ready:
            machine.close()
            return self._begin()
        if peer in ready:
            data = peer.recv(READ_BYTES)
            self._is_ended = not data
            self._kept += data
        with suppress(OSError):  # the next connection will be a better one
            if machine in ready and not self._confirm(machine):
                return machine
            if writable:
                self._send(machine)
        return machine

    def _confirm(self, machine: socket.socket) -> bool:
        """Let go of what has been confirmed; the machine closes when it has everything."""
        said = machine.recv(READ_BYTES)
        if not said:
            self._kept.clear()
            return False
        (confirmed,) = OFFSET.unpack(said[-OFFSET.size :])
        del self._kept[: max(confirmed - self._first, 0)]
        self._first = max(confirmed, self._first)
        return True

    def _send(self, machine: socket.socket) -> None:
        start = self._at - self._first
        with suppress(BlockingIOError):
            self._at += machine.send(self._kept[start : start + READ_BYTES])
        if self._is_ended and self._at == self._first + len(self._kept):
            machine.shutdown(socket.SHUT_WR)


def carry_out(spec: dict[str, Any]) -> None:
    """Serve all sessions, a thread each."""
    threads = []
    for flow in spec["flows"]:
        listener = socket.create_server(("0.0.0.0", flow["port"]))
        kind = FromMachine if flow["name"] == "download" else ToMachine
        session = kind(listener, partial(socket.create_connection, (flow["address"], flow["port"])))
        threads.append(threading.Thread(target=session.carry_out, daemon=True))
    for thread in threads:
        thread.start()
    print(READY, flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    carry_out(json.loads(Path(sys.argv[1]).read_text()))
