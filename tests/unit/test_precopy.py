# SPDX-License-Identifier: Apache-2.0
"""The model of pre-copy migration against sums by hand, and what holds for every migration."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.precopy import GO_ON, LIMIT, PAGE_BYTES, QEMU, STOP, XEN, Precopy, precopy_of

MIB = 2**20


def precopy(memory=64 * MIB, dirty=2e6, bandwidth=8e6, **more):
    return Precopy(memory, dirty, bandwidth, **more)


def test_rounds_shrink_by_the_ratio_of_the_rates():
    """64 MiB at 8 MB/s, 2 MB/s written: 8.39 s, then a quarter each; 0.5 s is fallen below in the
    third round, which leaves 1.05 MB."""
    found = precopy(downtime_limit_s=0.5).predict()

    assert [round(seconds, 2) for _, seconds in found.rounds] == [8.39, 2.10, 0.52]
    assert (found.end, round(found.stop_and_copy_s, 2)) == (STOP, 0.13)
    assert found.total_s == pytest.approx(8.39 * (1 - 0.25**4) / 0.75, rel=1e-2)


def test_a_round_is_known_to_have_arrived_one_round_trip_later():
    without, with_rtt = (precopy(downtime_limit_s=3.0).predict(rtt) for rtt in (0.0, 0.1))
    assert with_rtt.rounds[0][1] == pytest.approx(without.rounds[0][1] + 0.1)
    assert with_rtt.stop_and_copy_s > without.stop_and_copy_s + 0.1


def test_slow_start_is_made_up_for_by_a_long_round_only():
    """At 8 MB/s and 100 ms the window is filled after 6 doublings; then 9 MB/s."""
    long, short = (precopy(memory=size).predict(0.1).rounds[0] for size in (64 * MIB, 8 * MIB))
    assert long[1] == pytest.approx(64 * MIB / 8e6 + 0.1)
    assert short[1] == pytest.approx(0.6 + (8 * MIB - 63 * 14_480) / 9e6 + 0.1)
    tiny = precopy(memory=3 * 14_480).predict(0.1).rounds[0]
    assert tiny[1] == pytest.approx(0.2 + 0.1)


def test_the_hosts_connect_first():
    found = precopy().predict(0.1)
    rounds_s = sum(seconds for _, seconds in found.rounds)
    assert found.total_s == pytest.approx(0.1 + rounds_s + found.stop_and_copy_s)


def test_what_is_written_twice_is_sent_once():
    assert precopy(dirty=1e9).left_bytes(10) == 64 * MIB
    assert precopy(dirty=1).left_bytes(1) == PAGE_BYTES
    assert precopy().left_bytes(0) == 0


def test_as_fast_as_it_is_sent_never_converges():
    found = precopy(dirty=8e6).predict()
    assert found.end == GO_ON


@pytest.mark.parametrize(("rounds", "end"), [(1, LIMIT), (5, LIMIT)])
def test_a_limit_of_rounds_ends_what_does_not_converge(rounds, end):
    found = precopy(dirty=10e6, max_rounds=rounds).predict()
    assert (found.end, len(found.rounds)) == (end, rounds)
    assert found.stop_and_copy_s == pytest.approx(64 * MIB / 8e6)


def test_qemu_goes_by_the_rate_that_it_had():
    """A round that took twice as long halves what may be left."""
    plan = precopy(downtime_limit_s=0.5)
    assert plan.decide([(8_000_000, 1.0)], 4_000_000) == STOP
    assert plan.decide([(8_000_000, 2.0)], 4_000_000) == GO_ON


def test_xen_stops_below_fifty_pages():
    plan = precopy(algorithm=XEN)
    assert plan.decide([(MIB, 1.0)], 49 * PAGE_BYTES) == STOP
    assert plan.decide([(MIB, 1.0)], 50 * PAGE_BYTES) == GO_ON


def test_xen_ends_after_thirty_rounds_or_three_times_the_memory():
    plan = precopy(algorithm=XEN)
    assert plan.decide([(MIB, 1.0)] * 30, MIB) == LIMIT
    assert plan.decide([(64 * MIB, 1.0)] * 3, MIB) == LIMIT
    assert plan.decide([(64 * MIB, 1.0)] * 2, MIB) == GO_ON
    assert precopy(algorithm=XEN, max_rounds=2).decide([(MIB, 1.0)] * 2, MIB) == LIMIT


def test_the_plan_is_plain_data():
    plain = {"memory_bytes": 1, "dirty_bytes_per_s": 2.0, "bandwidth_bytes_per_s": 3.0}
    assert precopy_of({"precopy": plain}) == Precopy(1, 2.0, 3.0)


@given(
    memory=st.integers(PAGE_BYTES, 2**34),
    ratio=st.floats(0.01, 0.9),
    limit_s=st.floats(0.05, 5.0),
    algorithm=st.sampled_from([QEMU, XEN]),
)
def test_what_is_written_more_slowly_than_sent_always_ends(memory, ratio, limit_s, algorithm):
    plan = Precopy(memory, ratio * 8e6, 8e6, algorithm, limit_s)
    found = plan.predict()

    sizes = [size for size, _ in found.rounds]
    assert found.end in (STOP, LIMIT)
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) <= memory / (1 - ratio) + PAGE_BYTES * len(sizes) / (1 - ratio)
    assert math.isfinite(found.total_s)
    if algorithm == QEMU:
        assert found.stop_and_copy_s <= limit_s + 1e-9
