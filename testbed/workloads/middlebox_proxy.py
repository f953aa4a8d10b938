# SPDX-License-Identifier: Apache-2.0
"""A transparent proxy on a middlebox: python3 -m ... middlebox_proxy SPEC.json

nftables (tproxy) hands it connections that are addressed to others: it answers from the address
that the client meant, over MPTCP where the client asks for it, opens a connection of its own to
that address and passes on what comes. One loop for all connections.
"""

import json
import select
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.workloads.bulk_sockets import IPPROTO_MPTCP

READY = "ready"
IP_TRANSPARENT = 19  # include/uapi/linux/in.h
READ_BYTES = 256 << 10
# Wakes per so many bytes: 7 ms at 20 Mbit/s.
WAKE_BYTES = 16 << 10


@dataclass(eq=False)
class Way:
    """One direction of a connection.

    Attributes:
        source, target: from which socket to which.
        waiting: what the target has not taken yet.
        is_ended: the source has sent everything.
    """

    source: socket.socket
    target: socket.socket
    waiting: bytes = b""
    is_ended: bool = False
    is_done: bool = False

    def move(self) -> None:
        """Pass on what can be passed on now."""
        while not self.is_done:
            try:
                if self.waiting:
                    self.waiting = self.waiting[self.target.send(self.waiting) :]
                elif self.is_ended:
                    self.target.shutdown(socket.SHUT_WR)
                    self.is_done = True
                else:
                    self.waiting = self.source.recv(READ_BYTES)
                    self.is_ended = not self.waiting
            except BlockingIOError:
                return


class Proxy:
    """All connections of a middlebox.

    Args:
        spec: "port".
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._poll = select.epoll()
        self._listener = _socket()
        # What tproxy hands over is addressed to others.
        self._listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        self._listener.bind(("0.0.0.0", spec["port"]))
        self._listener.listen()
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._ways: dict[int, tuple[Way, Way]] = {}

    def serve(self) -> None:
        """Pass on what comes until somebody ends this process."""
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._listener.fileno():
                    self._accept()
                elif fd in self._ways:
                    self._pass_on(self._ways[fd])

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = _socket()
        server.connect(client.getsockname())
        ways = (Way(client, server), Way(server, client))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
        for end in (client, server):
            end.setblocking(False)
            self._ways[end.fileno()] = ways
            events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
            self._poll.register(end.fileno(), events)

    def _pass_on(self, ways: tuple[Way, Way]) -> None:
        try:
            for way in ways:
                way.move()
        except OSError:  # one end has given up: so has the other, then
            self._close(ways)
            return
        if all(way.is_done for way in ways):
            self._close(ways)

    def _close(self, ways: tuple[Way, Way]) -> None:
        for way in ways:
            del self._ways[way.source.fileno()]
            self._poll.unregister(way.source.fileno())
            way.source.close()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


if __name__ == "__main__":
    proxy = Proxy(json.loads(Path(sys.argv[1]).read_text()))
    print(READY, flush=True)
    proxy.serve()
