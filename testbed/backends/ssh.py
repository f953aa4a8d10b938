# SPDX-License-Identifier: Apache-2.0
"""A machine behind SSH as a backend: its own kernel, in real time.

The run is started there with a life of its own; we follow its reports and fetch what it leaves.
So a connection that is lost costs nothing but the time until the next one.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from testbed.backends.base import Backend, Cancelled, Progress
from testbed.backends.remote.address import SshTarget
from testbed.backends.remote.patience import Patience
from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.process import quoted_tail
from testbed.rundir import read_json
from testbed.target.machine import Finding, missing_sentence


class SshBackend(Backend):
    """Carries out runs on a machine behind SSH.

    Args:
        target: the machine; see `testbed.backends.remote.address.resolve`.
        patience: how long to wait for it.
        ask_password: called with a question when no key opens the door; None: nobody is there.
    """

    most_at_once = 1

    def __init__(
        self,
        target: SshTarget,
        *,
        patience: Patience | None = None,
        ask_password: Callable[[str], str] | None = None,
    ) -> None:
        self._target = target
        self._patience = patience or Patience()
        self._ask_password = ask_password
        self._password: str | None = None

    def up(self) -> dict[str, Any]:
        """Check that the machine lets us in and has all that a run needs."""
        found = self._check()
        if sentence := missing_sentence(_findings(found), self._target.label):
            raise PrerequisiteError(sentence)
        kernel: dict[str, Any] = found["kernel"]
        return kernel

    def check(self) -> list[Finding]:
        """Return what the machine has and lacks."""
        return _findings(self._check())

    def _check(self) -> dict[str, Any]:
        try:
            return self._check_with(self._password)
        except PrerequisiteError as error:
            if self._ask_password is None or "does not let" not in str(error):
                raise
        target = self._target
        self._password = self._ask_password(f"password of {target.user} on {target.label}")
        return self._check_with(self._password)

    def _check_with(self, password: str | None) -> dict[str, Any]:
        # Imported here: the lab needs no paramiko.
        from testbed.backends.remote.session import Session

        with Session(self._target, self._patience, password) as session:
            try:
                session.put(None)
                return session.check()
            finally:
                session.clear()

    def execute(self, argv: Sequence[str], *, timeout_s: float, as_root: bool = True) -> str:
        """Run one command on the machine and return what it wrote.

        Raises:
            CommandError: it failed.
            BackendError: the machine cannot be reached, or did not answer in time.
        """
        from testbed.backends.remote.connection import Connection
        from testbed.backends.remote.session import ROOT, SUDO

        prefix = SUDO if as_root and self._target.user != ROOT else []
        with Connection(self._target, self._patience, self._password) as connection:
            status, output, said = connection.run([*prefix, *argv], timeout_s=timeout_s)
        if status != 0:
            where = f"{argv[0]} on {self._target.label}"
            raise CommandError(f"{where} exited {status}{quoted_tail(said)}")
        return output.decode(errors="replace")

    def run(self, run_dir: Path, seed: int, progress: Progress, cancelled: threading.Event) -> int:
        """Bring the run there, follow it, fetch its results, and clean up."""
        from testbed.backends.remote.session import Session

        with Session(self._target, self._patience, self._password, cancelled) as session:
            try:
                status = self._carry_out(session, run_dir, progress)
            except (Cancelled, BackendError) as error:
                left = session.clear()
                if left and isinstance(error, BackendError):
                    raise BackendError(f"{error}; {left}") from error
                raise
            except BaseException:
                session.clear()
                raise
            session.clear()
            return status

    def _carry_out(self, session: Any, run_dir: Path, progress: Progress) -> int:
        session.put((run_dir / "run.json").read_bytes())
        duration_s = read_json(run_dir / "run.json")["duration_s"]
        session.start(duration_s + self._patience.beyond_s)
        ended = session.follow(progress)
        session.fetch(run_dir)
        if error := ended.get("error"):
            raise BackendError(str(error))
        return int(ended["status"])


def _findings(answer: dict[str, Any]) -> list[Finding]:
    return [Finding(**one) for one in answer["findings"]]
