# SPDX-License-Identifier: Apache-2.0
"""One run, or one check, on a machine behind SSH, over connections that may be lost."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from testbed.backends.base import Cancelled, Progress
from testbed.backends.progress_lines import complete_lines, parse_report
from testbed.backends.remote import bootstrap
from testbed.backends.remote.address import SshTarget
from testbed.backends.remote.connection import Connection, ConnectionLost
from testbed.backends.remote.fetch import Fetch
from testbed.backends.remote.patience import Patience
from testbed.errors import BackendError, PrerequisiteError

T = TypeVar("T")
SUDO = ["sudo", "-n", "--"]
ROOT = "root"
NOT_FOUND = 127
MANIFEST_S = 600.0
_log = logging.getLogger(__name__)


class Session:
    """A folder on the machine and what is done with it.

    Args:
        target: the machine.
        patience: how long to wait.
        password: to log in with, besides the target's own.
        cancelled: ends every wait when it is set.
    """

    def __init__(
        self,
        target: SshTarget,
        patience: Patience,
        password: str | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._target = target
        self._patience = patience
        self._password = password
        self._cancelled = cancelled or threading.Event()
        self._connection: Connection | None = None
        self._heard_s: float | None = None
        self._python = [*([] if target.user == ROOT else SUDO), "python3"]
        self.folder = f"{bootstrap.BASE}/mptcp-testbed-{secrets.token_hex(6)}"

    def put(self, run_json: bytes | None) -> None:
        """Bring our code, and the run, to the machine.

        Raises:
            PrerequisiteError: it has no Python that is new enough, or no sudo without a password.
        """
        answer = self._script(bootstrap.PUT, stdin=bootstrap.archive(run_json))
        if "python" in answer:
            raise PrerequisiteError(
                f"{self._target.label} has Python {answer['python']}; install 3.11 or later there"
            )

    def check(self) -> dict[str, Any]:
        """Return what the machine says of itself: its kernel and findings."""
        return self._ask("check")

    def start(self, limit_s: float) -> None:
        """Start the run, which does not need us from then on."""
        own = ["own"] if self._target.is_own else []
        if not self._ask("start", self.folder, f"{limit_s:.0f}", *own)["started"]:
            raise BackendError(f"the run could not be started on {self._target.label}")

    def follow(self, progress: Progress) -> dict[str, Any]:
        """Pass the run's reports on until it ends, and return how it ended.

        Raises:
            BackendError: the machine did not answer for too long.
            Cancelled: it was.
        """
        offset = 0

        def listen(connection: Connection) -> dict[str, Any]:
            nonlocal offset
            argv = self._argv("follow", self.folder, str(offset))
            stream = connection.stream(argv, is_wanted=self._is_wanted)
            for line in _lines(stream, self._target.label):
                self._hear()
                said = self._parse(line)
                if "ended" in said:
                    return self._ended(said["ended"])
                if "report" in said:
                    progress(parse_report(str(said["report"]).encode(), self._target.label))
                    offset = int(said["offset"])
            self._raise_if_cancelled()
            raise ConnectionLost(f"{self._target.label} stopped to report")

        return self._persist(listen)

    def fetch(self, run_dir: Path) -> None:
        """Bring what the run left here; what an interruption cut off goes on where it was."""
        manifest = self._ask("manifest", self.folder, timeout_s=MANIFEST_S).get("files")
        if not isinstance(manifest, dict):
            raise BackendError(f"{self._target.label} does not say what the run left")
        fetch = Fetch(run_dir, manifest, self._target.label)

        def get(connection: Connection) -> None:
            def stream(first: int, offset: int) -> Iterator[bytes]:
                argv = self._argv("send", self.folder, str(first), str(offset))
                for block in connection.stream(argv, is_wanted=self._is_wanted):
                    self._hear()
                    yield block

            while not fetch.is_complete:
                fetch.take(stream)
                self._raise_if_cancelled()

        self._persist(get)

    def clear(self) -> str | None:
        """End the run if it still goes on, remove what is ours; return what is left and why."""
        if self._heard_s is None:
            return None  # there is nothing of ours
        deadline = time.monotonic() + self._patience.clearing_s
        problem: Exception = BackendError("there was no time")
        while time.monotonic() < deadline:
            try:
                connection = self._open()
                argv = self._argv("stop", self.folder)
                connection.run(argv, timeout_s=self._patience.clearing_s)
                argv = [*self._python, "-I", "-c", bootstrap.CLEAR, self.folder]
                connection.run(argv, timeout_s=self._patience.clearing_s)
                return None
            except (BackendError, PrerequisiteError) as error:
                problem = error
                self._drop()
                time.sleep(self._patience.first_pause_s)
        _log.warning("%s is left on %s: %s", self.folder, self._target.label, problem)
        return f"{self.folder} is left there"

    def close(self) -> None:
        """Let go of the connection."""
        self._drop()

    def _ask(self, verb: str, *arguments: str, timeout_s: float | None = None) -> dict[str, Any]:
        argv = self._argv(verb, *arguments)
        return self._persist(lambda connection: self._answer(connection, argv, b"", timeout_s))

    def _script(self, script: str, stdin: bytes = b"") -> dict[str, Any]:
        argv = [*self._python, "-I", "-c", script, self.folder]
        return self._persist(lambda connection: self._answer(connection, argv, stdin, None))

    def _argv(self, verb: str, *arguments: str) -> list[str]:
        return bootstrap.agent_argv(self._python, self.folder, verb, *arguments)

    def _answer(
        self, connection: Connection, argv: list[str], stdin: bytes, timeout_s: float | None
    ) -> dict[str, Any]:
        status, output, said = connection.run(argv, stdin=stdin, timeout_s=timeout_s)
        self._hear()
        if status != 0:
            raise self._failure(status, said)
        answer = self._parse(output.strip().rpartition(b"\n")[2])
        if "error" in answer:
            raise BackendError(f"{self._target.label}: {answer['error']}")
        return answer

    def _failure(self, status: int, said: str) -> Exception:
        label, user = self._target.label, self._target.user
        line = next((one for one in reversed(said.splitlines()) if one.strip()), "it said nothing")
        if "sudo:" in said and "python3" not in said:
            return PrerequisiteError(
                f"{user} on {label} may not use sudo without a password ({line.strip()}); "
                "allow it in sudoers, or log in as root"
            )
        if status == NOT_FOUND or "python3" in line:
            return PrerequisiteError(f"{label} has no python3 that starts ({line.strip()})")
        return BackendError(f'{label} exited {status}: "{line.strip()}"')

    def _ended(self, said: Any) -> dict[str, Any]:
        """Return how a run ended, if that is what the machine said."""
        known = said if isinstance(said, dict) else {}
        if not known.get("error") and type(known.get("status")) is not int:
            raise BackendError(f"{self._target.label} does not say how the run ended")
        return known

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            said = line[:200].decode(errors="replace").strip()
            raise BackendError(f'{self._target.label} said "{said}", which is no answer')
        return found

    def _persist(self, action: Callable[[Connection], T]) -> T:
        """Do something over a connection, and after a loss over another one.

        Raises:
            BackendError: the machine could not be reached for too long; the first cause counts.
        """
        first: ConnectionLost | None = None
        lost_s = 0.0
        while True:
            try:
                return action(self._open())
            except ConnectionLost as error:
                self._drop()
                if self._heard_s is None:
                    raise  # it never answered: there is no reason to hope
                if first is None or self._heard_s > lost_s:
                    first, pause_s = error, self._patience.first_pause_s
                lost_s = time.monotonic()
                self._give_up_at_last(lost_s - self._heard_s, first)
            self._cancelled.wait(pause_s)
            self._raise_if_cancelled()
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)

    def _give_up_at_last(self, silent_s: float, first: ConnectionLost) -> None:
        if silent_s > self._patience.silence_s:
            raise BackendError(
                f"{self._target.label} has not answered for {silent_s:.0f} s: {first}"
            ) from first

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._target, self._patience, self._password)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _hear(self) -> None:
        self._heard_s = time.monotonic()

    def _is_wanted(self) -> bool:
        return not self._cancelled.is_set()

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _lines(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    """Yield the complete lines of a stream of bytes."""
    rest = b""
    for block in blocks:
        lines, rest = complete_lines(rest, block, label)
        yield from lines
