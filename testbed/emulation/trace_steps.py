# SPDX-License-Identifier: Apache-2.0
"""A recorded trace as steps of a rate, for kernels that cannot follow its single opportunities."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

OPPORTUNITY_BYTES = 1500

# How often the rate may change, and how far what it offered may be from what the trace did before
# it has to: every change fills the bucket of a tbf, so fewer are better.
STEP_MS = 200
OFF_BYTES = 3 * OPPORTUNITY_BYTES
STEPS_AHEAD = 10


def rate_steps(
    opportunities_ms: Sequence[int], period_ms: int, duration_s: float
) -> list[tuple[float, int]]:
    """Return times, in s from the start, and the rates in bit/s that hold from then on.

    Args:
        opportunities_ms: ascending times of delivery of 1500 bytes, from the start.
        period_ms: after which the trace starts again; 0 means never.
        duration_s: how long the steps have to last.
    """
    edges_ms = range(0, round(duration_s * 1000) + STEP_MS, STEP_MS)
    totals = [_count(opportunities_ms, period_ms, edge) * OPPORTUNITY_BYTES for edge in edges_ms]
    offers = [after - before for before, after in pairwise(totals)]
    steps: list[tuple[float, int]] = []
    rate, owed = -1.0, 0.0  # bytes per step; bytes that the trace offered and the steps did not
    for number, offered in enumerate(offers):
        is_off = abs(owed + offered - rate) > OFF_BYTES or (offered == 0) != (rate == 0)
        if not steps or is_off:
            alike = _alike(offers[number : number + STEPS_AHEAD])
            rate = max(owed + sum(alike), 0) / len(alike) if offered else 0.0
            steps.append((number * STEP_MS / 1000, round(rate * 8000 / STEP_MS)))
        owed += offered - rate
    return steps


def _alike(offers: Sequence[int]) -> Sequence[int]:
    """Return the first of some offers and those after it that are about the same."""
    other = (n for n, one in enumerate(offers) if not one or abs(one - offers[0]) > OFF_BYTES)
    return offers[: max(next(other, len(offers)), 1)]


def _count(opportunities_ms: Sequence[int], period_ms: int, before_ms: int) -> int:
    """Return how many opportunities there are from the start until before a time."""
    if not period_ms:
        return bisect_left(opportunities_ms, before_ms)
    rounds, rest_ms = divmod(before_ms, period_ms)
    return rounds * len(opportunities_ms) + bisect_left(opportunities_ms, rest_ms)
