# SPDX-License-Identifier: Apache-2.0
"""Calls commands of the testbed, and says whether what they promise is kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTBED = Path(sys.executable).with_name("testbed")


def runs_of(command: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Return the runs of a call of `testbed COMMAND`, one after the other."""
    done = subprocess.run(
        [str(TESTBED), command, "--json", "--out", str(folder), "--jobs", "1", *options],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return found


def met(is_met: bool) -> str:
    """Return the word for a promise that is kept or not."""
    return "met" if is_met else "MISSED"
