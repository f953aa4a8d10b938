# SPDX-License-Identifier: Apache-2.0
"""Stops all processes of a virtual machine at once: the cgroup freezer (cgroup-v2.rst).

Where there is no cgroup2 file system to write to, SIGSTOP does it, process by process, and
`method` says so. Neither stops the machine's timers: its namespace is one of our kernel's.
"""

import ctypes
import os
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from testbed.errors import BackendError

CGROUP, SIGNAL = "cgroup freezer", "SIGSTOP"
FREEZE_TIMEOUT_S, STEP_S = 5.0, 0.0001
_libc = ctypes.CDLL(None, use_errno=True)


class Freezer:
    """A group of processes that stops and goes on as one.

    Attributes:
        method: CGROUP or SIGNAL.
    """

    def __init__(self) -> None:
        self._pids: list[int] = []
        self._mount = Path(tempfile.mkdtemp(prefix="cgroup-"))
        self._is_mounted = _libc.mount(b"none", os.fsencode(self._mount), b"cgroup2", 0, None) == 0
        self._group = self._mount / f"testbed-{os.getpid()}"
        self.method = SIGNAL
        with suppress(OSError):
            if self._is_mounted:
                self._group.mkdir()
                self.method = CGROUP

    def add(self, pid: int) -> None:
        """Add a process, and with it what it starts from now on."""
        self._pids.append(pid)
        if self.method == CGROUP:
            (self._group / "cgroup.procs").write_text(str(pid))

    def freeze(self) -> None:
        """Stop all processes and return when they stand still.

        Raises:
            BackendError: one did not.
        """
        if self.method == SIGNAL:
            self._signal(signal.SIGSTOP)
            return
        (self._group / "cgroup.freeze").write_text("1")
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        while "frozen 1" not in (self._group / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                raise BackendError(
                    f"the processes of the virtual machine still ran {FREEZE_TIMEOUT_S:g} s after "
                    "they were told to freeze"
                )
            time.sleep(STEP_S)

    def thaw(self) -> None:
        """Let them go on."""
        if self.method == SIGNAL:
            self._signal(signal.SIGCONT)
        else:
            (self._group / "cgroup.freeze").write_text("0")

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """Let everything go on, and leave no group behind."""
        with suppress(OSError):
            self.thaw()
        if self._is_mounted:
            with suppress(OSError):
                for pid in (self._group / "cgroup.procs").read_text().split():
                    (self._mount / "cgroup.procs").write_text(pid)
            with suppress(OSError):
                self._group.rmdir()
            _libc.umount2(os.fsencode(self._mount), 0)
        with suppress(OSError):
            self._mount.rmdir()
