# SPDX-License-Identifier: Apache-2.0
"""How busy the machine is, in real time only: raw/machine.jsonl and raw/timers.json.

A line per sample: {"t_ns": time since the start, "stat": the first line of /proc/stat,
"softnet": /proc/net/softnet_stat, "pressure": /proc/pressure/cpu}, "" where the kernel has none.
raw/timers.json has how late every call of the runner's timetable was.
"""

import json
import time
from pathlib import Path

from testbed.rundir import write_json

SOURCES = {
    "stat": Path("/proc/stat"),
    "softnet": Path("/proc/thread-self/net/softnet_stat"),
    "pressure": Path("/proc/pressure/cpu"),
}
INTERVAL_S = 1.0


class MachineCollector:
    """Samples the machine.

    Args:
        file: where the lines go.
        start_ns: of the run, monotonic clock.
    """

    def __init__(self, file: Path, start_ns: int) -> None:
        self._start_ns = start_ns
        self._file = file.open("w")

    def sample(self) -> None:
        """Write a line with what the kernel says now."""
        texts = {name: _read(path) for name, path in SOURCES.items()}
        texts["stat"] = texts["stat"].partition("\n")[0]
        line = {"t_ns": time.monotonic_ns() - self._start_ns, **texts}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Write what is left."""
        self.sample()
        self._file.close()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def record_timers(late: list[tuple[int, int]], start_ns: int, file: Path) -> None:
    """Write when each call was due, since the start, and by how much it was late, in ns."""
    write_json(file, {"late_ns": [[due_ns - start_ns, late_ns] for due_ns, late_ns in late]})
