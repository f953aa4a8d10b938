# SPDX-License-Identifier: Apache-2.0
"""Commands that take minutes: run to their end while somebody is told how far they are."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.process import Background

# Called with the name of a stage and how much of it is done, 0 to 1; None: nobody knows.
Report = Callable[[str, float | None], None]

# Often enough for a smooth progress bar, seldom enough to cost the compiler nothing. The first
# ticks are shorter, so that a short command is not waited for.
FIRST_TICK_S = 0.005
TICK_S = 0.2


@dataclass(frozen=True)
class Outcome:
    """How a watched command ended.

    Attributes:
        returncode: as `subprocess` gives it.
        output: what it wrote to standard output, and after it what it wrote to standard error.
    """

    returncode: int
    output: str


def watch(
    argv: Sequence[str],
    *,
    log_path: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run a command to its end, call tick() now and then, and leave its output in log_path.

    An exception, such as the user's Ctrl-C, ends the command with all its children.
    """
    errors_path = log_path.with_name(f"{log_path.name}.stderr")
    with Background(argv, stdout_path=log_path, stderr_path=errors_path, env=env, cwd=cwd) as job:
        pause_s = FIRST_TICK_S
        while job.returncode is None:
            tick()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, TICK_S)
        returncode = job.returncode
    with log_path.open("ab") as log:
        log.write(errors_path.read_bytes())
    errors_path.unlink()
    return Outcome(returncode, log_path.read_text(errors="replace"))
