# SPDX-License-Identifier: Apache-2.0
"""The control socket of wpa_supplicant (wpa_ctrl): commands, answers and events."""

import contextlib
import socket
import time
from pathlib import Path

from testbed.errors import BackendError, CommandError

TIMEOUT_S = 30.0
ANSWER_BYTES = 65536


class Control:
    """One interface of a wpa_supplicant.

    Args:
        path: of its socket; it is waited for.
        own: of ours, to which it answers.
    """

    def __init__(self, path: Path, own: Path) -> None:
        self._path, self._own = path, own
        self._commands = self._connect("commands")
        self._events = self._connect("events")
        self._exchange(self._events, "ATTACH")

    def _connect(self, what: str) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        made.bind(f"{self._own}.{what}")
        made.settimeout(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                made.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"wpa_supplicant did not answer on {self._path.name} after {TIMEOUT_S:g} s"
                    ) from None
                time.sleep(0.01)
            else:
                return made

    def _exchange(self, by: socket.socket, command: str) -> str:
        by.send(command.encode())
        try:
            answer = by.recv(ANSWER_BYTES).decode(errors="replace")
        except TimeoutError:
            raise CommandError(f"wpa_supplicant did not answer to {command}") from None
        if answer.startswith(("FAIL", "UNKNOWN COMMAND")):
            raise BackendError(f"wpa_supplicant refused {command} on {self._path.name}")
        return answer

    def ask(self, command: str) -> str:
        """Send a command and return the answer.

        Raises:
            BackendError: it was refused.
            CommandError: there is no answer.
        """
        return self._exchange(self._commands, command)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with an event."""
        return self._events.fileno()

    def events(self) -> list[str]:
        """Return the events that have come, without their level."""
        found = []
        self._events.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                said = self._events.recv(ANSWER_BYTES).decode(errors="replace")
                found.append(said.partition(">")[2] if said.startswith("<") else said)
        return found

    def close(self) -> None:
        """Close the sockets."""
        self._commands.close()
        self._events.close()
