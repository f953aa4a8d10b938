#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure what the analysis of a very large run needs: memory, time and packets per second.

The run is a recorded MPTCP download over two paths, repeated with later times and other ports until
its captures have the size asked for: tens of thousands of connections one after the other.

Usage: python -m benchmarks.large_capture [--size-gb GB]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.pcap_parse import repeat, survey

RECORDED = Path(__file__).parent.parent / "tests/data/mptcp/6.18-tcpdump-4.99-download"
# Disk space that is needed per byte of captures: they, what is kept of them, the tables.
ROOM = 2.5
SAMPLE_S = 0.02
ANALYSE = "import sys; from analysis.report import write_report; write_report(sys.argv[1])"


class Cost(NamedTuple):
    """What a process needed."""

    wall_s: float
    cpu_s: float
    anonymous_bytes: int  # at most, of the samples taken
    resident_bytes: int  # at most; pages of files count, which the kernel may drop


def write_run(target: Path, size_bytes: int) -> int:
    """Write a run whose captures have `size_bytes` together; return how many packets."""
    shutil.copytree(RECORDED, target)
    captures = sorted(RECORDED.glob("raw/*.pcap"))
    rounds = max(round(size_bytes / sum(file.stat().st_size for file in captures)), 1)
    surveys = {file: survey(file) for file in captures}
    length_s = max(seconds for _, seconds in surveys.values()) + 1
    for file in captures:
        repeat(file, target / "raw" / file.name, rounds, length_s)
    _describe(target, rounds, length_s)
    return rounds * sum(packets for packets, _ in surveys.values())


def _describe(target: Path, rounds: int, length_s: int) -> None:
    """Say in run.json and manifest.json what the run now is."""
    end_s = rounds * length_s
    run, manifest = (_read(target / name) for name in ("run.json", "manifest.json"))
    run["duration_s"], run["ride"] = end_s, {"stations": [[0.0, end_s]]}
    manifest["virtual_s"] = manifest["workload"]["ended_s"] = end_s
    for workload in (run["workload"], manifest["workload"]):
        workload["size_bytes"] *= rounds
    (target / "run.json").write_text(json.dumps(run))
    (target / "manifest.json").write_text(json.dumps(manifest))


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def measure(argv: list[str]) -> Cost:
    """Run a command and return what it needed."""
    begin, anonymous = time.monotonic(), 0
    process = subprocess.Popen(argv)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        anonymous = max(anonymous, _anonymous_bytes(process.pid))
        time.sleep(SAMPLE_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the analysis exited {process.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(time.monotonic() - begin, cpu_s, anonymous, usage.ru_maxrss * 1024)


def _anonymous_bytes(pid: int) -> int:
    """Return the memory of a process without mapped files; 0 if it is gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 if "RssAnon:" in status else 0


def main(arguments: Sequence[str] = ()) -> None:
    """Print memory, time and packets per second of one analysis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-gb", type=float, default=5.0)
    options = parser.parse_args(arguments)
    size_bytes = round(options.size_gb * 1e9)
    free_bytes = shutil.disk_usage(tempfile.gettempdir()).free
    if free_bytes < size_bytes * ROOM:
        print(f"skipped: {tempfile.gettempdir()} has {free_bytes / 1e9:.1f} GB free and "
              f"{size_bytes * ROOM / 1e9:.1f} are needed, set TMPDIR or --size-gb")  # fmt: skip
        return
    with tempfile.TemporaryDirectory(prefix="large-capture-") as folder:
        run = Path(folder) / "run"
        packets = write_run(run, size_bytes)
        written = sum(file.stat().st_size for file in run.glob("raw/*.pcap"))
        print(f"captures  {packets} packets, {written / 1e9:.2f} GB", flush=True)
        cost = measure([sys.executable, "-c", ANALYSE, str(run)])
        verdict = _read(run / "derived" / "verdict.json")["status"]
        derived = sum(file.stat().st_size for file in run.glob("derived/*"))
    rate = packets / cost.wall_s
    print(
        f"analysis  {cost.wall_s:8.1f} s wall, {cost.cpu_s:.1f} s CPU, {rate / 1e6:.3f} M packets/s"
    )
    print(f"memory    {cost.anonymous_bytes / 1e9:8.2f} GB anonymous at most, "
          f"{cost.resident_bytes / 1e9:.2f} GB with mapped files")  # fmt: skip
    print(f"derived   {derived / 1e9:8.2f} GB, verdict {verdict}")


if __name__ == "__main__":
    main(sys.argv[1:])
