# SPDX-License-Identifier: Apache-2.0
"""The lab as a backend: each run boots a kernel of its own and sees only its run directory."""

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.backends.base import Backend, Cancelled, Progress
from testbed.backends.progress_lines import ProgressLines
from testbed.backends.target_code import target_code
from testbed.emulation.memory import OWN_KERNEL
from testbed.lab.boot import BootOptions, GuestCommand, LabCancelled, run_in_lab
from testbed.lab.kernel import Kernel, find_kernel
from testbed.lab.processors import own_processor
from testbed.rundir import read_json

SHARE = "/run/testbed"
CODE = "/run/code"


class LabBackend(Backend):
    """Boots the lab kernel once per run.

    Args:
        memory_bytes: of each lab.
    """

    def __init__(self, memory_bytes: int = BootOptions.memory_bytes) -> None:
        self._memory_bytes = memory_bytes
        self._kernel: Kernel | None = None

    def up(self) -> dict[str, Any]:
        """Find the kernel."""
        self._kernel = find_kernel()
        config = self._kernel.config.read_bytes()
        return {
            "id": self._kernel.id,
            "release": self._kernel.release,
            "config_sha256": hashlib.sha256(config).hexdigest(),
        }

    def run(self, run_dir: Path, seed: int, progress: Progress, cancelled: threading.Event) -> int:
        """Boot, run and power off."""
        assert self._kernel is not None, "up() comes first"
        memory_bytes = self._memory_bytes * read_json(run_dir / "run.json").get("memory_factor", 1)
        interpreter = os.path.realpath(sys.executable)
        command = GuestCommand(
            # Neither installed packages nor the working folder get in.
            [interpreter, "-S", "-s", "-P", "-m", "testbed.runner", f"{SHARE}/run.json", SHARE],
            env={"PYTHONPATH": CODE, OWN_KERNEL: "1"},
            mounts={CODE: target_code(CODE)},
            visible=(Path(sys.base_prefix),),
        )
        with (run_dir / "runner.log").open("wb") as log, _cancelling(), own_processor() as cpu:
            return run_in_lab(
                command,
                kernel=self._kernel.path,
                options=BootOptions(seed=seed, memory_bytes=memory_bytes, cpu=cpu),
                share=run_dir,
                stdout=ProgressLines(progress),
                stderr=log,
                cancelled=cancelled,
            )


@contextmanager
def _cancelling() -> Iterator[None]:
    try:
        yield
    except LabCancelled:
        raise Cancelled from None
