# SPDX-License-Identifier: Apache-2.0
"""A trace as steps of a rate offers what the trace offers, and pauses when it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.emulation.trace_steps import OFF_BYTES, rate_steps


def offered_bytes(steps, until_s):
    ends = [*(at for at, _ in steps[1:]), until_s]
    return sum((end - at) * rate / 8 for (at, rate), end in zip(steps, ends, strict=True))


def test_an_even_trace_keeps_about_one_rate():
    steps = rate_steps(range(6, 60_001, 6), 0, 60)
    rates = [rate_bps for _, rate_bps in steps]

    assert len(rates) < 20
    # The last one may be short, and makes up for what is owed all the same.
    assert rates[:-1] == pytest.approx([2_000_000] * (len(rates) - 1), rel=0.04)
    assert offered_bytes(steps, 60) == pytest.approx(9999 * 1500, abs=OFF_BYTES)


def test_a_pause_is_a_rate_of_zero_from_its_step_to_its_end():
    steps = rate_steps([*range(10, 1000, 10), *range(3000, 4000, 10)], 0, 4)

    assert (1.0, 0) in steps
    assert steps[steps.index((1.0, 0)) + 1][0] == 3.0


@given(st.lists(st.integers(1, 20), min_size=50, max_size=800), st.booleans())
def test_no_more_than_some_packets_are_owed_at_the_end(gaps, is_repeated):
    times = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    period_ms = times[-1] if is_repeated else 0
    steps = rate_steps(times, period_ms, 4)
    count = sum(1 for t in times if t < 4000)
    if is_repeated:
        rounds, rest = divmod(4000, period_ms)
        count = rounds * len(times) + sum(1 for t in times if t < rest)

    assert abs(offered_bytes(steps, 4.0) - count * 1500) <= 3 * OFF_BYTES
