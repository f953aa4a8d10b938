# SPDX-License-Identifier: Apache-2.0
"""External processes: started from argument lists, with a deadline, and always reaped.

Standard library only: the target uses it too.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from testbed.errors import CommandError

# Tools such as tcpdump write their last data on SIGINT; one second each is plenty for that.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
STOP_STEP_S = 1.0


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_text: str = "",
    prepare: Callable[[], None] | None = None,
) -> str:
    """Run a command to its end and return what it wrote to standard output.

    Args:
        prepare: called in the child before the command is executed.

    Raises:
        CommandError: it could not be started, took longer than timeout_s, or failed.
    """
    started = time.monotonic()
    try:
        done = subprocess.run(
            argv,
            input=input_text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=env,
            cwd=cwd,
            preexec_fn=prepare,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"{argv[0]} took longer than {timeout_s:g} s") from None
    except (OSError, subprocess.SubprocessError) as error:  # the latter when prepare fails
        raise _not_started(argv, error) from error
    if done.returncode:
        seconds = time.monotonic() - started
        raise CommandError(
            f"{argv[0]} {ending(done.returncode)} after {seconds:.1f} s{quoted_tail(done.stderr)}"
        )
    return done.stdout


def ending(returncode: int) -> str:
    """Say how a process ended, from the return code of `subprocess`."""
    if returncode >= 0:
        return f"exited {returncode}"
    known = {number.value: number.name for number in signal.Signals}
    return f"was ended by {known.get(-returncode, f'signal {-returncode}')}"


def quoted_tail(text: str) -> str:
    """Return the last line of an error output as `: "line"`, or nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f': "{lines[-1]}"' if lines else ""


class Background:
    """A process that runs beside us, in a group of its own, until it is stopped.

    Use it as a context manager: leaving it stops the process. Its outputs go to files, so
    that no pipe can fill and nothing is lost when we die.

    Args:
        argv: the command.
        stdout_path: where its standard output goes.
        stderr_path: where its standard error goes.
        prepare: called in the child before the command is executed, such as to enter a
            network namespace.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdout_path: Path,
        stderr_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.argv = list(argv)
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path
        with stdout_path.open("wb") as out, stderr_path.open("wb") as err:
            self._process = _start(self.argv, out, err, env, cwd, prepare)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._process.poll()

    def wait(self, *, timeout_s: float) -> int:
        """Wait for its end and return its return code.

        Raises:
            CommandError: it still ran after timeout_s.
        """
        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise CommandError(f"{self.argv[0]} took longer than {timeout_s:g} s") from None

    def wait_until(
        self, is_ready: Callable[[], bool], *, timeout_s: float, step_s: float = 0.01
    ) -> None:
        """Return as soon as is_ready() says so.

        Raises:
            CommandError: the process ended before, or timeout_s passed.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.returncode is not None:
                raise self.failure(f"{ending(self.returncode)} before it was ready")
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready after {timeout_s:g} s")
            time.sleep(step_s)

    def failure(self, what: str) -> CommandError:
        """Return an error that quotes the end of the process's error output."""
        tail = quoted_tail(self.stderr_path.read_text(errors="replace"))
        return CommandError(f"{self.argv[0]} {what}{tail}")

    def stop(self) -> int:
        """End the process group, kindly first, and return the return code."""
        for number in STOP_SIGNALS:
            if self.returncode is not None:
                break
            self._signal_group(number)
            try:
                self._process.wait(timeout=STOP_STEP_S)
            except subprocess.TimeoutExpired:
                continue
        self._signal_group(signal.SIGKILL)
        return self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _start(
    argv: list[str],
    out: IO[bytes],
    err: IO[bytes],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    prepare: Callable[[], None] | None,
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=env,
            cwd=cwd,
            preexec_fn=prepare,
            start_new_session=True,
        )
    except (OSError, subprocess.SubprocessError) as error:  # the latter when prepare fails
        raise _not_started(argv, error) from error


def _not_started(argv: Sequence[str], error: Exception) -> CommandError:
    reason = getattr(error, "strerror", None) or str(error)
    return CommandError(f"{argv[0]} cannot be started: {reason.rstrip('.').lower()}")
