# SPDX-License-Identifier: Apache-2.0
"""The same ride ten times, half of them while all cores are busy: are the raw data the same?"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTBED = Path(sys.executable).with_name("testbed")
OFFLOAD = (str(TESTBED), "offload", "--mode", "mptcp-full", "--size", "10MB")
RUNS = 10
BUSY_LOOP = "while True: pass"


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy."""
    loops = [
        subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def ride(folder: Path, seed: int) -> dict[str, Any]:
    """Make one ride and return its summary with the hashes of its captures."""
    done = subprocess.run(
        [*OFFLOAD, "--seed", str(seed), "--out", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    (summary,) = json.loads(done.stdout)["runs"]
    raw = Path(summary["run_dir"]) / "raw"
    summary["hashes"] = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw.glob("*.pcap"))
    }
    return dict(summary)


def main() -> None:
    """Print how many different captures there are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        idle = [ride(folder, 1) for _ in range(RUNS // 2)]
        with busy_cores():
            busy = [ride(folder, 1) for _ in range(RUNS // 2)]
        other = ride(folder, 2)
    for file in idle[0]["hashes"]:
        same = {run["hashes"][file] for run in idle + busy}
        print(
            f"  {file}: {len(same)} different in {RUNS} runs of seed 1; "
            f"seed 2 is {'the SAME' if other['hashes'][file] in same else 'different'}"
        )
    for what, runs in (("idle", idle), ("busy", busy)):
        walls = sorted(run["wall_s"] for run in runs)
        print(
            f"  {what}: {runs[0]['virtual_s']:.1f} virtual s in {walls[len(walls) // 2]:.2f} s "
            f"(median of {len(walls)})"
        )


if __name__ == "__main__":
    main()
