# SPDX-License-Identifier: Apache-2.0
"""User space reads the clock without the kernel, and gets what the kernel would say."""

import json
import sys
from pathlib import Path

STEP_NS = 256  # what one reading costs in virtual time


def test_both_ways_of_reading_the_clock_agree(lab_exec):
    """Each reading, of either kind, comes a few steps after the one before, also after days."""
    done = lab_exec(sys.executable, "-P", Path(__file__).with_name("clock_guest.py"))
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)

    for when in ("early", "late"):
        for clock, steps in found[when].items():
            assert set(steps) <= {STEP_NS, 2 * STEP_NS, 3 * STEP_NS}, (when, clock)
    # A loop that waits by reading the clock ends, at the time that it waits for.
    assert abs(found["busy_s"] - 0.05) < 1e-5


def test_processes_see_the_clock_page_and_cannot_break_the_clock(lab_exec):
    """A process that writes nonsense to the page moves no time: the kernel keeps its own limit."""
    program = """
import ctypes, time
for line in open("/proc/self/maps"):
    if "[vvar]" in line:
        address = int(line.split("-")[0], 16)
before = time.monotonic()
ctypes.c_ulonglong.from_address(address).value = 2**62
print(time.monotonic() - before < 1, flush=True)
time.sleep(10)
print(9.9 < time.monotonic() - before < 10.1)
"""
    done = lab_exec(sys.executable, "-c", program)

    assert done.stdout.split() == [b"True", b"True"], done.stderr.decode()
