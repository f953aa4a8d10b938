# SPDX-License-Identifier: Apache-2.0
"""What real time asks of the machine: that it kept up. In virtual time the clock waits for it.

Two limits each: beyond the first a reader must know, beyond the second the run is no data point.
They are judgements of ours, not of a standard; docs/backends.md says where they come from.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.reasons import Reason, invalid, suspect
from analysis.tables import Frames
from testbed.netlink.netem import burst_bytes

REAL = "real"
NETEM = "netem, tbf"


@dataclass(frozen=True)
class Limits:
    """Above `suspect` a value is suspect, above `invalid` it is invalid."""

    suspect: float
    invalid: float

    def judge(self, check: str, value: float, message: str) -> list[Reason]:
        """Return a reason if a value is above a limit."""
        if value <= self.suspect:
            return []
        find = invalid if value > self.invalid else suspect
        return [find(check, message, value=value, suspect=self.suspect, invalid=self.invalid)]


# A queue of 80 ms or a round trip of 20 ms is blurred by the first, and lost in the second.
TIMER_P99_S = Limits(0.005, 0.020)
CHANGE_S = Limits(0.010, 0.100)
STEAL_FRACTION = Limits(0.02, 0.10)
STALLED_FRACTION = Limits(0.40, 0.90)
SQUEEZED_FRACTION = Limits(0.001, 0.05)
DROPPED_FRACTION = Limits(0.0, 1e-4)
BASE_RTT_S, BASE_RTT_FRACTION = Limits(0.001, 0.003), Limits(0.03, 0.15)
RATE_FRACTION = Limits(0.03, 0.15)
# Of what a link carried in a second or in all: a late timer moves packets to the next second.
EXCESS_FRACTION = 0.02
# A sample of link counters in which something waits at both ends was busy for all we know.
ENOUGH_BUSY_S = 1.0
# Where the kernel counts for how long it was, a sample that was busy for less is left out.
BUSY_FRACTION = 0.99
# What the steps of a rate may be off from the trace that they stand for, both ways.
STEPS_BYTES = 2 * 6 * 1500


def is_real_time(frames: Frames) -> bool:
    """Say whether the run's clock did not wait for the machine."""
    return frames.manifest.get("clock") == REAL


def slack_bytes(frames: Frames, rate_bps: float | None, allowed_bytes: float) -> float:
    """Return what a link may carry beyond its rate without having done anything wrong.

    Args:
        frames: the run.
        rate_bps: of the link; None: it follows a trace.
        allowed_bytes: what the rate allows in the time in question.
    """
    slack = EXCESS_FRACTION * allowed_bytes if is_real_time(frames) else 0.0
    if frames.manifest.get("links") == NETEM:
        bps = rate_bps or 0.0
        slack += burst_bytes(int(bps)) + (STEPS_BYTES if rate_bps is None else 0)
    return slack


def check_timers(frames: Frames) -> list[Reason]:
    """The machine woke us when we had asked it to."""
    if not is_real_time(frames) or not len(frames.timers):
        return []
    late_s = frames.timers["late_s"].to_numpy()
    p99, worst = float(np.quantile(late_s, 0.99)), float(late_s.max())
    message = (
        f"timers were {p99 * 1e3:.1f} ms late or more in 1 % of the cases, {worst * 1e3:.1f} ms "
        "at worst: the machine was overloaded"
    )
    return TIMER_P99_S.judge("timers", p99, message)


def check_machine(frames: Frames) -> list[Reason]:
    """The processors were ours, and packets were handled when they came."""
    if not is_real_time(frames) or len(frames.machine) < 2:
        return []
    first, last = frames.machine[0], frames.machine[-1]
    found = _check_processors(frames)
    packets = max(last.packets - first.packets, 1)
    for name, limits, what in (
        ("dropped", DROPPED_FRACTION, "were dropped because too many waited to be handled"),
        ("squeezed", SQUEEZED_FRACTION, "times their handling was put off for want of time"),
    ):
        count = getattr(last, name) - getattr(first, name)
        message = f"of {packets} packets on the machine {count} {what}"
        found += limits.judge("machine", count / packets, message)
    return found


def _check_processors(frames: Frames) -> list[Reason]:
    first, last = frames.machine[0], frames.machine[-1]
    steal = (last.steal_ticks - first.steal_ticks) / max(last.ticks - first.ticks, 1)
    message = f"{steal:.0%} of the processors' time went to other machines on the same host"
    found = STEAL_FRACTION.judge("machine", steal, message)
    if first.stalled_us is not None and last.stalled_us is not None:
        stalled = (last.stalled_us - first.stalled_us) / 1e6 / max(last.t_s - first.t_s, 1e-3)
        message = f"in {stalled:.0%} of the time something that could run had no processor"
        found += STALLED_FRACTION.judge("machine", stalled, message)
    return found


def judge_change(change: str, at_s: float, late_s: float) -> list[Reason]:
    """Judge the latest timed change of a run in real time."""
    message = f"the change {change} of {at_s:.3f} s came {late_s * 1e3:.1f} ms late"
    return CHANGE_S.judge("lateness", late_s, message)


def judge_base_rtt(path: str, asked_us: float, measured_us: float) -> list[Reason]:
    """Judge a path's base RTT: the larger of a time and a fraction is allowed."""
    off_s, asked_s = abs(measured_us - asked_us) / 1e6, asked_us / 1e6
    limits = Limits(
        max(BASE_RTT_S.suspect, BASE_RTT_FRACTION.suspect * asked_s),
        max(BASE_RTT_S.invalid, BASE_RTT_FRACTION.invalid * asked_s),
    )
    message = f"the base RTT of path {path} was {measured_us / 1e3:.3f} ms before the workload, "
    return limits.judge("base_rtt", off_s, message + f"asked was {asked_us / 1e3:.3f} ms")


def judge_rate(
    link: str, direction: str, spans: list[tuple[float, float, float]], slack: float
) -> list[Reason]:
    """Judge what a saturated link carried.

    Args:
        link, direction: which.
        spans: of each time in which it was saturated: seconds, bytes carried, bytes asked.
        slack: bytes that may be more or less.
    """
    busy_s, carried, asked = (float(sum(part)) for part in zip(*spans, strict=True))
    if busy_s < ENOUGH_BUSY_S:
        return []
    off = max(abs(carried - asked) - slack, 0.0) / asked
    message = f"link {link} {direction} carried {carried:.0f} bytes in {busy_s:.1f} s in which "
    message += f"something waited, its rate makes {asked:.0f}"
    return RATE_FRACTION.judge("busy_rate", off, message)


def saturated(
    times_s: list[float],
    delivered: list[int],
    backlog: list[int],
    busy_s: list[float] | None = None,
) -> list[tuple[float, float, int]]:
    """Return start, end and bytes of each span between samples in which something waited.

    Args:
        times_s: of the samples.
        delivered, backlog: bytes, at each.
        busy_s: time up to each in which something waited; None: the kernel does not count it, and
            what waits at both ends is taken for what waited all the time.
    """
    spans = pairwise(zip(times_s, delivered, backlog, busy_s or times_s, strict=True))
    return [
        (start_s, end_s, after - before)
        for (start_s, before, waiting, busy_before_s), (end_s, after, still, busy_after_s) in spans
        if waiting > 0
        and still > 0
        and busy_after_s - busy_before_s >= BUSY_FRACTION * (end_s - start_s)
    ]
