# SPDX-License-Identifier: Apache-2.0
"""What the clock test does inside the lab: the same clock, asked in two ways."""

import ctypes
import json
import time

CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1
SYS_CLOCK_GETTIME = 228  # x86-64
READINGS = 2000
libc = ctypes.CDLL(None)


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def by_system_call(clock):
    found = Timespec()
    assert libc.syscall(SYS_CLOCK_GETTIME, clock, ctypes.byref(found)) == 0
    return found.seconds * 10**9 + found.nanoseconds


def steps(clock, read):
    """Return the differences between readings of either kind in turn."""
    found, before = set(), by_system_call(clock)
    for _ in range(READINGS):
        for now in (read(), by_system_call(clock)):
            found.add(now - before)
            before = now
    return sorted(found)


def main():
    result = {}
    for when in ("early", "late"):
        result[when] = {
            "monotonic": steps(CLOCK_MONOTONIC, time.monotonic_ns),
            "realtime": steps(CLOCK_REALTIME, time.time_ns),
        }
        time.sleep(1_000_000)
    started = time.monotonic_ns()
    while time.monotonic_ns() < started + 50_000_000:
        pass
    result["busy_s"] = (time.monotonic_ns() - started) / 1e9
    print(json.dumps(result))


main()
