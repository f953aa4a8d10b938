# SPDX-License-Identifier: Apache-2.0
"""What a backend can do. All of them start `python3 -m testbed.runner run.json OUTDIR`."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.target.machine import Finding

Progress = Callable[[dict[str, Any]], None]
Report = Callable[[str, float | None], None]


class Cancelled(Exception):
    """The user ended a run that was under way."""


class Backend(ABC):
    """A machine that carries out runs.

    Attributes:
        most_at_once: runs that do not disturb each other; None: any number, in virtual time.
        comes_up_slowly: whether up() may take minutes, and tells report() about its stages.
        report: called with the name of a stage and the fraction of it that is done.
    """

    most_at_once: int | None = None
    comes_up_slowly = False
    report: Report = staticmethod(lambda stage, fraction: None)

    @abstractmethod
    def up(self) -> dict[str, Any]:
        """Make sure that the machine can be used; return what identifies its kernel.

        Raises:
            PrerequisiteError: it cannot.
        """

    def check(self) -> list[Finding]:
        """Return what the machine has and lacks, in as far as nothing else looks at it."""
        return []

    @abstractmethod
    def run(self, run_dir: Path, seed: int, progress: Progress, cancelled: threading.Event) -> int:
        """Carry out the run.json in a run directory, fill it, and return the exit status.

        Args:
            run_dir: holds run.json; gets raw/, runner.log and target.json.
            seed: of everything random on the target.
            progress: called with each line of progress.
            cancelled: ends the run when it is set.

        Raises:
            BackendError: the machine died or cannot be reached.
            Cancelled: it was.
        """
