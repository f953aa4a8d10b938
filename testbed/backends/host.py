# SPDX-License-Identifier: Apache-2.0
"""This machine as a backend: its own kernel, as root, in real time.

Every run is in namespaces of its own, which one process holds; nothing survives it.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from testbed.backends.base import Backend, Cancelled, Progress
from testbed.backends.progress_lines import ProgressLines
from testbed.backends.target_code import target_code
from testbed.errors import BackendError
from testbed.rundir import read_json
from testbed.target.confine import CODE, environment
from testbed.target.machine import Finding, examine_machine, require_machine

LOOK_S = 0.2
BEYOND_S = 300.0
CHUNK_BYTES = 1 << 16


class HostBackend(Backend):
    """Carries out runs with the kernel of this machine."""

    most_at_once = 1

    def up(self) -> dict[str, Any]:
        """Refuse with everything that is missing."""
        return require_machine()

    def check(self) -> list[Finding]:
        """Return what this machine has and lacks."""
        return examine_machine()

    def run(self, run_dir: Path, seed: int, progress: Progress, cancelled: threading.Event) -> int:
        """Run in fresh namespaces and wait for the end."""
        code = target_code(str(CODE))
        limit_s = read_json(run_dir / "run.json")["duration_s"] + BEYOND_S
        argv = [os.path.realpath(sys.executable), "-S", "-s", "-P", "-m", "testbed.target.confine"]
        env = {**environment(), "PYTHONPATH": str(code)}
        with (
            (run_dir / "runner.log").open("wb") as log,
            subprocess.Popen(
                [*argv, str(run_dir.resolve()), str(code), f"{limit_s:.0f}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                start_new_session=True,
            ) as keeper,
        ):
            try:
                return self._follow(keeper, ProgressLines(progress), cancelled)
            finally:
                keeper.kill()  # and the kernel ends all that it kept

    def _follow(
        self,
        keeper: "subprocess.Popen[bytes]",
        reports: ProgressLines,
        cancelled: threading.Event,
    ) -> int:
        assert keeper.stdout is not None
        os.set_blocking(keeper.stdout.fileno(), False)
        while True:
            is_over = keeper.poll() is not None
            if cancelled.is_set():
                raise Cancelled
            while data := keeper.stdout.read(CHUNK_BYTES):
                reports.write(data)
            if is_over:
                return self._status(keeper.returncode)
            cancelled.wait(LOOK_S)

    def _status(self, returncode: int) -> int:
        if returncode < 0:
            raise BackendError(f"the run was killed on this machine by signal {-returncode}")
        return returncode
