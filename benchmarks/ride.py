# SPDX-License-Identifier: Apache-2.0
"""How long a ride of 300 virtual seconds takes with all collectors on, in one mode and in six."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTBED = Path(sys.executable).with_name("testbed")
LIMIT_S, VIRTUAL_S = 15.0, 300.0

# The seed's ride takes at least 300 s for a file of this size.
SIZE = "110MB"


def offload(folder: Path, *options: str) -> tuple[dict[str, Any], float]:
    """Return what a call of `testbed offload` printed, and how long it took."""
    started = time.monotonic()
    done = subprocess.run(
        [str(TESTBED), "offload", "--json", "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return json.loads(done.stdout), time.monotonic() - started


def main() -> None:
    """Print virtual and wall time, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        found, call_s = offload(Path(name), "--mode", "mptcp-full", "--size", SIZE)
        (run,) = found["runs"]
        scaled_s = run["wall_s"] * VIRTUAL_S / run["virtual_s"]
        met = "met" if scaled_s <= LIMIT_S else "MISSED"
        print(
            f"  mptcp-full: {run['verdict']}, {run['virtual_s']:.1f} virtual s in "
            f"{run['wall_s']:.1f} s ({run['virtual_s'] / run['wall_s']:.1f} times real time); "
            f"{VIRTUAL_S:.0f} s take {scaled_s:.1f} s (at most {LIMIT_S:g}: {met})"
        )
        print(f"    with planning, analysis, figures and page: {call_s:.1f} s")
        found, call_s = offload(Path(name))
        virtual_s = sum(one["virtual_s"] for one in found["runs"])
        verdicts = ", ".join(f"{one['mode']} {one['verdict']}" for one in found["runs"])
        print(
            f"  six modes with the defaults: {virtual_s:.0f} virtual s in {call_s:.1f} s; "
            f"{verdicts}"
        )


if __name__ == "__main__":
    main()
