# SPDX-License-Identifier: Apache-2.0
"""Link traces: how a link behaves over time, read from a file or made from a seed.

mahimahi's format has one line per opportunity to deliver 1500 bytes, its time in ms from the
start; equal times are several opportunities; a trace that is repeated starts again after its last
time. CSV has a head line and one line per change: t_s,rate_mbps[,one_way_delay_ms,loss,up].
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import SpecError

OPPORTUNITY_BYTES = 1500

# Synthetic ride: the rate wanders as a first-order autoregressive process, 100 ms a step, with a
# correlation of half a minute and a relative standard deviation as recorded 3G links show it.
STEP_MS = 100
CORRELATION = 0.997
RELATIVE_DEVIATION = 0.35
LOWEST_SHARE = 0.1

_TIME = re.compile(r"[0-9]{1,10}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)

MAX_DELAY_MS, MAX_RATE_MBPS, MAX_TIME_S = 86_400_000, 1e9, 86_400 * 365

# Repeated, a shorter one would have more steps than anything could follow; mahimahi's has 1 ms.
MIN_LENGTH_S = 1e-3


@dataclass(frozen=True)
class Trace:
    """A trace, in one of the two formats.

    Attributes:
        times_ms: of the opportunities, mahimahi's format.
        steps: CSV: {"at_s", "rate_bps", "one_way_delay_s", "loss_fraction", "is_up"}, of the last
            four those that the file has.
    """

    times_ms: list[int] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)


def parse_trace(text: str, name: str) -> Trace:
    """Return the trace in a text of either format.

    Raises:
        SpecError: it is wrong; the message has the line.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    if "," in first or first.strip().startswith("t_s"):
        return Trace(steps=parse_csv(text, name))
    return Trace(times_ms=parse_mahimahi(text, name))


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


def _rate(value: float) -> dict[str, Any]:
    return {"rate_bps": round(value * 1e6)}


def _delay(value: float) -> dict[str, Any]:
    return {"one_way_delay_s": value / 1e3}


def _loss(value: float) -> dict[str, Any]:
    return {"loss_fraction": value}


def _up(value: float) -> dict[str, Any]:
    return {"is_up": bool(value)}


UP = "0 or 1"

# column -> what it means, the greatest value, and what may be said of it
COLUMNS: dict[str, tuple[Callable[[float], dict[str, Any]], float, str]] = {
    "rate_mbps": (_rate, MAX_RATE_MBPS, "a rate in Mbit/s"),
    "one_way_delay_ms": (_delay, MAX_DELAY_MS, "a delay in ms"),
    "loss": (_loss, math.nextafter(1, 0), "a fraction below 1"),
    "up": (_up, 1, UP),
}


def parse_csv(text: str, name: str) -> list[dict[str, Any]]:
    """Return the steps of a CSV trace.

    Args:
        text: the file's content.
        name: what error messages call it.

    Raises:
        SpecError: a column is unknown, a value is none, times go back, or the trace is empty or
            lasts 0 s.
    """
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows = [(number, line.split(",")) for number, line in lines]
    if not rows:
        raise SpecError(f"{name}: the trace is empty; give it a line per change")
    head = [column.strip() for column in rows[0][1]]
    unknown = [column for column in head[1:] if column not in COLUMNS]
    if head[:1] != ["t_s"] or "rate_mbps" not in head or unknown or len({*head}) < len(head):
        raise SpecError(
            f"{name}:{rows[0][0]}: the head line must be t_s,rate_mbps and may go on with "
            f"one_way_delay_ms, loss and up, each once"
        )
    steps: list[dict[str, Any]] = []
    for number, row in rows[1:]:
        steps.append(_csv_step(f"{name}:{number}", head, [value.strip() for value in row]))
        if len(steps) > 1 and steps[-1]["at_s"] < steps[-2]["at_s"]:
            raise SpecError(
                f"{name}:{number}: the time {steps[-1]['at_s']:g} s comes after "
                f"{steps[-2]['at_s']:g} s; a trace must not go back in time"
            )
    if not steps:
        raise SpecError(f"{name}: the trace is empty; give it a line per change")
    if steps[-1]["at_s"] == 0:
        raise SpecError(f"{name}: the trace ends at 0 s, so it has no length")
    if steps[-1]["at_s"] < MIN_LENGTH_S:
        raise SpecError(f"{name}: the trace is shorter than {MIN_LENGTH_S * 1e3:g} ms")
    return steps


def _csv_step(place: str, head: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(head):
        raise SpecError(f"{place}: there are {len(row)} values for {len(head)} columns")
    step = {"at_s": _csv_number(place, row[0], MAX_TIME_S, "a time in s")}
    for column, value in zip(head[1:], row[1:], strict=True):
        convert, limit, what = COLUMNS[column]
        step |= convert(_csv_number(place, value, limit, what))
    return step


def _csv_number(place: str, value: str, limit: float, what: str) -> float:
    is_number = _NUMBER.fullmatch(value) is not None and float(value) <= limit
    if not is_number or (what == UP and float(value) not in (0, 1)):
        raise SpecError(f'{place}: "{value[:40]}" is not {what}')
    return float(value)


def changes(
    steps: Sequence[dict[str, Any]], offset_s: float, duration_s: float, is_looped: bool
) -> list[dict[str, Any]]:
    """Return the changes of a link that follows a CSV trace, from the run's start on.

    Each is {"at_s", "change": "link", ...}; the first is at 0 s and says what holds then. A trace
    that is repeated starts again at the time of its last line, which then only ends it.
    """
    period_s = steps[-1]["at_s"]
    rounds = [0.0]
    if is_looped:
        last = int((offset_s + duration_s) // period_s)
        rounds = [number * period_s for number in range(last + 1)]
        steps = steps[:-1] or steps
    moved = [
        {**step, "at_s": base + step["at_s"] - offset_s, "change": "link"}
        for base in rounds
        for step in steps
    ]
    before = [step for step in moved if step["at_s"] <= 0]
    later = [step for step in moved if 0 < step["at_s"] < duration_s]
    return [{**(before or moved)[-1 if before else 0], "at_s": 0.0}, *later]


def cut(times: Sequence[int], offset_ms: int, length_ms: int, is_looped: bool = True) -> list[int]:
    """Return a part of a trace, or of its endless repetition, with times from its own start.

    A time at the very start of the part is left to the part before it, as 1500 bytes that can
    be delivered at the end of a millisecond belong to that millisecond.
    """
    period = times[-1]
    part = []
    base = offset_ms // period * period if is_looped else 0
    while base <= offset_ms + length_ms:
        part += [
            base + time - offset_ms
            for time in times
            if offset_ms < base + time <= offset_ms + length_ms
        ]
        base += period
        if not is_looped:
            break
    return part


def synthetic(
    seed: int,
    length_ms: int,
    mean_bps: int,
    fades_ms: Sequence[tuple[int, int]],
    variation: float = RELATIVE_DEVIATION,
) -> list[int]:
    """Return the trace of a made-up ride.

    Args:
        seed: of the rate's wandering.
        length_ms: of the trace.
        mean_bps: bit/s on average outside the fades.
        fades_ms: start and end of each time without any coverage.
        variation: relative standard deviation of the rate.
    """
    generator = random.Random(f"ride:{seed}")
    deviation = 0.0
    credit = 0.0
    times: list[int] = []
    for start in range(0, length_ms, STEP_MS):
        noise = generator.gauss(0, variation)
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
