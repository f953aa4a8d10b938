# SPDX-License-Identifier: Apache-2.0
"""How long a lab takes: the whole command, the boot alone, and idle time that is skipped."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from testbed.lab.boot import BootOptions, GuestCommand, run_in_lab
from testbed.lab.kernel import find_kernel

RUNS = 11
TESTBED = Path(sys.executable).with_name("testbed")


def seconds(call: Callable[[], object]) -> list[float]:
    """Return how long a call takes, RUNS times after one that is not counted."""
    call()
    found = []
    for _ in range(RUNS):
        started = time.monotonic()
        call()
        found.append(time.monotonic() - started)
    return found


def show(what: str, found: list[float], limit_s: float) -> None:
    """Print median, extremes and the limit."""
    median = statistics.median(found)
    verdict = "met" if median <= limit_s else "MISSED"
    print(
        f"  {what:34} median {median:.3f} s, {min(found):.3f}-{max(found):.3f} s, n = {len(found)}"
        f"  (at most {limit_s:g} s: {verdict})"
    )


def command(*argv: str) -> Callable[[], object]:
    """Return a call of `testbed lab exec` as a whole process."""
    whole = [str(TESTBED), "lab", "exec", "--", *argv]
    return lambda: subprocess.run(whole, check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    """Print the three figures."""
    kernel = find_kernel().path
    show("testbed lab exec -- true", seconds(command("true")), 1.0)
    boot = seconds(lambda: run_in_lab(GuestCommand(["true"]), kernel=kernel, options=BootOptions()))
    show("boot to init, one command, off", boot, 0.5)
    show("testbed lab exec -- sleep 1000", seconds(command("sleep", "1000")), 1.2)


if __name__ == "__main__":
    main()
