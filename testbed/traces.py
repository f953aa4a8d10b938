# SPDX-License-Identifier: Apache-2.0
"""Link traces: when a link can deliver 1500 bytes, read from a file or made from a seed.

The file format is mahimahi's: one line per opportunity, its time in ms from the start; equal
times are several opportunities; the trace starts again after its last time.
"""

import random
import re
from collections.abc import Sequence

from testbed.errors import SpecError

OPPORTUNITY_BYTES = 1500

# Synthetic ride: the rate wanders as a first-order autoregressive process, 100 ms a step, with a
# correlation of half a minute and a relative standard deviation as recorded 3G links show it.
STEP_MS = 100
CORRELATION = 0.997
RELATIVE_DEVIATION = 0.35
LOWEST_SHARE = 0.1

_TIME = re.compile(r"[0-9]{1,10}")


def parse_mahimahi(text: str, name: str) -> list[int]:
    """Return the times of a trace in ms.

    Args:
        text: the file's content.
        name: what error messages call it.

    Raises:
        SpecError: a line is no time, times go back, or the trace is empty or lasts 0 ms.
    """
    times: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        stamp = line.strip()
        if not stamp:
            continue
        if not _TIME.fullmatch(stamp) or int(stamp) >= 2**32:
            raise SpecError(f'{name}:{number}: "{stamp[:40]}" is not a time in ms')
        times.append(int(stamp))
        if len(times) > 1 and times[-1] < times[-2]:
            raise SpecError(
                f"{name}:{number}: the time {times[-1]} ms comes after {times[-2]} ms; "
                "a trace must not go back in time"
            )
    if not times:
        raise SpecError(f"{name}: the trace is empty; give it one time in ms per line")
    if times[-1] == 0:
        raise SpecError(f"{name}: the trace ends at 0 ms, so it has no length")
    return times


def cut(times: Sequence[int], offset_ms: int, length_ms: int) -> list[int]:
    """Return a part of an endless repetition of a trace, with times from its own start.

    A time at the very start of the part is left to the part before it, as 1500 bytes that can
    be delivered at the end of a millisecond belong to that millisecond.
    """
    period = times[-1]
    part = []
    base = offset_ms // period * period
    while base <= offset_ms + length_ms:
        part += [
            base + time - offset_ms
            for time in times
            if offset_ms < base + time <= offset_ms + length_ms
        ]
        base += period
    return part


def synthetic(
    seed: int, length_ms: int, mean_bps: int, fades_ms: Sequence[tuple[int, int]]
) -> list[int]:
    """Return the trace of a made-up ride.

    Args:
        seed: of the rate's wandering.
        length_ms: of the trace.
        mean_bps: bit/s on average outside the fades.
        fades_ms: start and end of each time without any coverage.
    """
    generator = random.Random(f"ride:{seed}")
    deviation = 0.0
    credit = 0.0
    times: list[int] = []
    for start in range(0, length_ms, STEP_MS):
        noise = generator.gauss(0, RELATIVE_DEVIATION)
        deviation = CORRELATION * deviation + (1 - CORRELATION**2) ** 0.5 * noise
        per_ms = mean_bps * max(LOWEST_SHARE, 1 + deviation) / 8000 / OPPORTUNITY_BYTES
        near = [fade for fade in fades_ms if fade[0] < start + STEP_MS and start < fade[1]]
        for time in range(start + 1, min(start + STEP_MS, length_ms) + 1):
            if any(begin < time <= end for begin, end in near):
                continue
            credit += per_ms
            times += [time] * int(credit)
            credit -= int(credit)
    return times
