# SPDX-License-Identifier: Apache-2.0
"""A machine behind SSH, inside the lab: python3 ssh_guest.py SSHD

The streams carry several connections: frames of connection, kind and length, and so many bytes.
Each connection gets an sshd of its own (`sshd -i`), which listens nowhere.
"""

import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

FRAME = struct.Struct("!IBI")
OPEN, DATA, CLOSE = range(3)
BLOCK = 60_000
PASSWORD_HASH = (
    "$6$testbed$"
    "vrRYhycIGB8R63wOmHTK98sCF3Ol3MjX4MHNWmatwdV"
    "3ntaqZMqC4ZPLrqElk7ka.u1kbMrNZuXlBgwkU3OEX1"
)


def furnish(folder: Path) -> None:
    """Give sshd its user and its folder, and root a password."""
    Path("/run/sshd").mkdir(mode=0o755)
    Path("/var/tmp").mkdir(mode=0o1777, exist_ok=True)
    users = {
        "passwd": "root:x:0:0::/root:/bin/sh\nsshd:x:998:65534::/run/sshd:/usr/sbin/nologin\n"
        "proxy:x:13:13::/:/usr/sbin/nologin\nplain:x:1000:1000::/:/bin/sh\n",
        "shadow": f"root:{PASSWORD_HASH}:19000::::::\nsshd:*:19000::::::\nplain:*:19000::::::\n",
    }
    for name, text in users.items():
        file = Path("/run") / name
        file.write_text(text)
        file.chmod(0o600 if name == "shadow" else 0o644)
        subprocess.run(["mount", "--bind", file, f"/etc/{name}"], check=True)
    keys = Path("/run/keys")
    keys.mkdir(mode=0o755)
    for file in folder.glob("*"):
        if file.is_file():
            shutil.copyfile(file, keys / file.name)
            (keys / file.name).chmod(0o600 if file.name == "host_key" else 0o644)


def sshd(program: str) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [program, "-i", "-e", "-f", "/run/keys/sshd_config"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
        )
    return ours, process


class Carrier:
    """Carries frames between the streams and the servers."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._servers: dict[int, tuple[socket.socket, subprocess.Popen[bytes]]] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ, None)
        self._rest = b""

    def carry(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    block = os.read(0, 1 << 17)
                    if not block:
                        return
                    self._take(block)
                else:
                    self._pass_on(key.data)

    def _take(self, block: bytes) -> None:
        self._rest += block
        while len(self._rest) >= FRAME.size:
            number, kind, length = FRAME.unpack_from(self._rest)
            if len(self._rest) < FRAME.size + length:
                return
            data = self._rest[FRAME.size : FRAME.size + length]
            self._rest = self._rest[FRAME.size + length :]
            if kind == OPEN:
                self._servers[number] = sshd(self._program)
                server = self._servers[number][0]
                self._selector.register(server, selectors.EVENT_READ, number)
            elif number in self._servers:
                self._give(number, kind, data)

    def _give(self, number: int, kind: int, data: bytes) -> None:
        try:
            if kind == DATA:
                self._servers[number][0].sendall(data)
                return
        except OSError:
            pass
        self._end(number)

    def _pass_on(self, number: int) -> None:
        if number not in self._servers:
            return
        try:
            data = self._servers[number][0].recv(BLOCK)
        except OSError:
            data = b""
        kind = DATA if data else CLOSE
        os.write(1, FRAME.pack(number, kind, len(data)) + data)
        if not data:
            self._end(number)

    def _end(self, number: int) -> None:
        server, process = self._servers.pop(number)
        self._selector.unregister(server)
        server.close()
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    furnish(Path("/run/testbed"))
    Carrier(sys.argv[1]).carry()
