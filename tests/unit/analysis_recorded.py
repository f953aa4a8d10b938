# SPDX-License-Identifier: Apache-2.0
"""The recorded runs, each read once for all tests; see tests/data/mptcp/record.py."""

import copy
import functools
from pathlib import Path

from analysis.load import load_run
from analysis.tables import Frames

DATA = Path(__file__).parent.parent / "data" / "mptcp"
VERSION = "6.18-tcpdump-4.99"  # of the kernel and of the tool
CAPTURES = sorted(DATA.glob(f"{VERSION}-*/raw/*.pcap"))


def recorded_dir(case: str) -> Path:
    """Return the run directory of a case."""
    return DATA / f"{VERSION}-{case}"


@functools.cache
def _load(case: str) -> Frames:
    return load_run(recorded_dir(case))


def recorded(case: str) -> Frames:
    """Return the tables of a case, for the caller to change."""
    return copy.deepcopy(_load(case))
