# SPDX-License-Identifier: Apache-2.0
"""An emulated link does what was asked, measured from outside it, inside the lab.

The receiver's clock reads cost 256 ns of virtual time each, so times agree to some microseconds.
"""

import pytest

NEAR_S = 20e-6


@pytest.mark.parametrize("one_way_delay_s", [0.0, 0.010, 0.075])
def test_the_round_trip_takes_the_delays_that_were_asked(in_guest, one_way_delay_s):
    delay = {"one_way_delay_s": one_way_delay_s}
    measured = in_guest("round_trip_s", delay, delay)

    assert 2 * one_way_delay_s == pytest.approx(measured, abs=NEAR_S)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("rate_bps", [1_000_000, 8_000_000, 100_000_000])
def test_a_saturated_link_carries_its_rate(in_guest, rate_bps, up):
    count, size = 200, 1500
    found = in_guest("arrivals", {"rate_bps": rate_bps}, count, size, [], False, up)["arrivals"]

    assert list(range(count)) == [number for number, _ in found]
    took_s = found[-1][1] - found[0][1]
    assert rate_bps == pytest.approx((count - 1) * size * 8 / took_s, rel=0.002)


def test_the_queue_holds_exactly_its_limit(in_guest):
    found = in_guest("arrivals", {"rate_bps": 8_000_000, "queue_bytes": 15_000}, 40, 1500)

    # The burst comes at one instant, so nothing has been served: 10 packets fit, in order.
    assert list(range(10)) == [number for number, _ in found["arrivals"]]
    assert found["counters"]["dropped_full"] == 30
    assert found["counters"]["max_backlog"] == 15_000
    assert found["counters"]["delivered_bytes"] == 15_000


def test_a_link_knows_how_long_it_was_busy(in_guest):
    """Busy is the time in which something was served, not the time since the link was made."""
    found = in_guest("arrivals", {"rate_bps": 8_000_000}, 40, 1500)["counters"]

    assert found["busy_ns"] == 40 * 1_500_000
    assert found["backlog"] == 0


def test_a_link_that_stands_still_is_not_busy(in_guest):
    changes = [[0.0075, {"rate_bps": 0}], [1.0, {"rate_bps": 8_000_000}]]
    found = in_guest("arrivals", {"rate_bps": 8_000_000}, 10, 1500, changes)["counters"]

    assert found["busy_ns"] == pytest.approx(15_000_000, abs=2)


def test_the_delay_comes_after_the_queue_and_takes_no_room_in_it(in_guest):
    link = {"rate_bps": 8_000_000, "queue_bytes": 15_000, "one_way_delay_s": 1.0}
    found = in_guest("arrivals", link, 10, 1500)["arrivals"]

    assert [1 + 0.0015 * (n + 1) for n in range(10)] == pytest.approx(
        [at for _, at in found], abs=1e-4
    )


def test_a_change_of_rate_reaches_what_waits(in_guest):
    """Half of the burst is served at 8 Mbit/s, the rest at 0.8 Mbit/s."""
    changes = [[0.0150, {"rate_bps": 800_000}]]
    found = in_guest("arrivals", {"rate_bps": 8_000_000}, 20, 1500, changes)["arrivals"]

    assert pytest.approx(0.0150, abs=2e-4) == found[9][1]
    assert pytest.approx(0.0150 + 10 * 0.015, abs=1e-3) == found[19][1]


def test_a_rate_of_zero_holds_the_queue_until_it_changes(in_guest):
    changes = [[0.0075, {"rate_bps": 0}], [1.0, {"rate_bps": 8_000_000}]]
    found = in_guest("arrivals", {"rate_bps": 8_000_000}, 10, 1500, changes)["arrivals"]

    assert found[4][1] < 0.008
    assert pytest.approx(1.0015, abs=2e-4) == found[5][1]
    assert len(found) == 10


def test_a_link_that_goes_down_loses_its_queue_but_not_what_is_on_the_way(in_guest):
    link = {"rate_bps": 8_000_000, "one_way_delay_s": 0.5}
    found = in_guest("arrivals", link, 10, 1500, [[0.0080, {"is_up": False}]])

    assert [number for number, _ in found["arrivals"]] == [0, 1, 2, 3, 4]
    assert found["counters"]["dropped_down"] == 5


def test_losses_are_seeded_and_as_many_as_asked(in_guest):
    link = {"rate_bps": 100_000_000, "loss_fraction": 0.1}
    first = in_guest("arrivals", link, 2000, 200)
    again = in_guest("arrivals", link, 2000, 200)

    lost = first["counters"]["dropped_loss"]
    assert 2000 - lost == len(first["arrivals"])
    assert pytest.approx(lost / 2000, abs=0.03) == 0.1
    assert first["arrivals"] == again["arrivals"]


def trace(times, period_ms=0):
    return {"trace": {"opportunities_ms": times, "period_ms": period_ms}}


def test_a_trace_delivers_one_packet_per_opportunity_at_its_millisecond(in_guest):
    times = [5, 7, 7, 7, 30, 1000]
    found = in_guest("arrivals", trace(times), 6, 1500, [], True)["arrivals"]

    assert [t / 1000 for t in times] == pytest.approx([at for _, at in found], abs=1e-4)


def test_small_packets_share_an_opportunity_and_a_packet_may_take_two(in_guest):
    # 1000 bytes each: 1500 at 10 ms carry one and a half, 1500 at 20 ms the other one and a half.
    found = in_guest("arrivals", trace([10, 20, 30]), 3, 1000, [], True)["arrivals"]

    assert pytest.approx([at for _, at in found], abs=1e-4) == [0.010, 0.020, 0.020]


def test_a_trace_starts_again_after_its_period(in_guest):
    found = in_guest("arrivals", trace([3, 10], 10), 5, 1500, [], True)["arrivals"]

    assert pytest.approx([at for _, at in found], abs=1e-4) == [0.003, 0.010, 0.013, 0.020, 0.023]


def test_a_long_trace_arrives_in_several_messages(in_guest):
    found = in_guest("arrivals", trace({"every_ms": 2, "count": 35_000}), 5, 1500, [], True)

    assert found["counters"]["opportunities"] == 5
    assert pytest.approx([at for _, at in found["arrivals"]], abs=1e-4) == [
        0.002,
        0.004,
        0.006,
        0.008,
        0.010,
    ]


@pytest.mark.parametrize(
    ("times", "period_ms", "reason"),
    [
        ([5, 4], 0, "lab_link: the trace goes back in time"),
        ([5, 9], 8, "lab_link: the trace is longer than its period"),
    ],
)
def test_the_kernel_refuses_a_wrong_trace(in_guest, times, period_ms, reason):
    said = in_guest("refused_trace", times, period_ms)

    assert f"the kernel refused to load the trace: {reason}" == said
