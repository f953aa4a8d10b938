# SPDX-License-Identifier: Apache-2.0
"""A real machine for tests of SSH: the lab kernel in real time with sshd in it, and no network.

Every connection to a socket in the file system becomes a connection to an sshd of its own in the
lab, through the lab's standard streams.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from testbed.backends.remote.address import SshTarget
from tests.lab.ssh_guest import BLOCK, CLOSE, DATA, FRAME, OPEN

TESTBED = Path(sys.executable).with_name("testbed")
ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".sshd"
CARRY = Path(__file__).with_name("ssh_carry.py")
PASSWORD = "right horse"
CONFIG = """\
HostKey /run/keys/host_key
AuthorizedKeysFile /run/keys/authorized_keys
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
LogLevel ERROR
{more}
"""


def find_sshd() -> tuple[Path, str] | None:
    """Return an sshd and what its configuration needs; installed, or unpacked by `setup`."""
    if found := shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"):
        return Path(found), ""
    program = UNPACKED / "usr/sbin/sshd"
    lines = [
        f"{option} {helper}"
        for option, name in (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth"))
        if (helper := UNPACKED / "usr/lib/openssh" / name).exists()
    ]
    return (program, "\n".join(lines)) if program.exists() else None


def new_key(file: Path) -> str:
    """Write a private key and return the line of the public one."""
    key = Ed25519PrivateKey.generate()
    file.write_bytes(
        key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
    )
    file.chmod(0o600)
    public = key.public_key()
    return public.public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()


class SshMachine:
    """The machine; use it as a context manager.

    Args:
        folder: empty; for keys and the socket.
        settings: more lines of sshd_config.
    """

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.socket_path = folder / "socket"
        self.connections: dict[int, socket.socket] = {}
        self.opened = 0
        self.is_refusing = False
        program, more = find_sshd()
        self._program = program
        files = folder / "machine"
        files.mkdir()
        self.host_key = new_key(files / "host_key")
        (files / "authorized_keys").write_text(new_key(folder / "key") + "\n")
        (files / "sshd_config").write_text(CONFIG.format(more=f"{more}\n{settings}"))
        self._lock = threading.Lock()

    def target(self, **changes) -> SshTarget:
        """Return how to reach it."""
        known = {
            "host": "machine",
            "user": "root",
            "key_files": (self.folder / "key",),
            "proxy_command": f"{sys.executable} -S {CARRY} {self.socket_path}",
            "host_keys": (self.host_key,),
        }
        return SshTarget(**{**known, **changes})

    def __enter__(self):
        self._lab = subprocess.Popen(
            [
                *(TESTBED, "lab", "exec", "--real-time", "--share", self.folder / "machine", "--"),
                *(sys.executable, "-S", Path(__file__).with_name("ssh_guest.py"), self._program),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket_path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._listener.close()
        self.cut()
        with contextlib.suppress(OSError):
            self._lab.stdin.close()
        try:
            self._lab.wait(timeout=20)
        finally:
            self._lab.kill()
            self._lab.wait()

    def cut(self) -> int:
        """End every connection without a word, and return how many there were."""
        with self._lock:
            there = list(self.connections)
        for number in there:
            self._end(number)
        return len(there)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                if self.is_refusing:
                    connection.close()
                    continue
                with self._lock:
                    self.opened += 1
                    number = self.opened
                    self.connections[number] = connection
                self._send(number, OPEN)
                threading.Thread(target=self._carry, args=(number, connection)).start()

    def _carry(self, number: int, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(BLOCK):
                self._send(number, DATA, data)
        self._end(number)

    def _end(self, number: int) -> None:
        with self._lock:
            connection = self.connections.pop(number, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            self._send(number, CLOSE)

    def _send(self, number: int, kind: int, data: bytes = b"") -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._lab.stdin.write(FRAME.pack(number, kind, len(data)) + data)
            self._lab.stdin.flush()

    def _listen(self) -> None:
        out = self._lab.stdout
        while head := out.read(FRAME.size):
            number, kind, length = FRAME.unpack(head)
            data = out.read(length)
            connection = self.connections.get(number)
            if connection is None:
                continue
            with contextlib.suppress(OSError):
                if kind == DATA:
                    connection.sendall(data)
            if kind == CLOSE:
                self._end(number)
