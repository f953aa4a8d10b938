# SPDX-License-Identifier: Apache-2.0
"""A link of netem and tbf does what was asked, measured from outside it, inside the lab.

In virtual time, so that what is seen is theirs and not the machine's.
"""

import pytest

from testbed.netlink.netem import burst_bytes

PACKET = 1500


@pytest.fixture
def by_netem(in_guest):
    return lambda *arguments: in_guest("by_netem", *arguments)


def test_the_round_trip_takes_the_delays_that_were_asked(by_netem):
    delay = {"one_way_delay_s": 0.075}

    assert by_netem("round_trip_s", delay, delay) == pytest.approx(0.150, abs=50e-6)


@pytest.mark.parametrize("rate_bps", [1_000_000, 100_000_000])
def test_a_saturated_link_carries_its_rate_of_ip_packets_after_a_first_burst(by_netem, rate_bps):
    found = by_netem("arrivals", {"rate_bps": rate_bps}, 200, PACKET)["arrivals"]

    at_once = burst_bytes(rate_bps) // PACKET
    assert found[at_once - 1][1] < PACKET * 8 / rate_bps
    took_s = found[-1][1] - found[at_once][1]
    assert (200 - at_once - 1) * PACKET * 8 / took_s == pytest.approx(rate_bps, rel=0.002)


def test_the_queue_holds_its_limit_and_the_delay_takes_no_room_in_it(by_netem):
    link = {"rate_bps": 800_000, "queue_bytes": 15_000, "one_way_delay_s": 0.5}
    found = by_netem("arrivals", link, 40, PACKET)

    # All come at one instant, so none has left when the queue is full.
    assert [number for number, _ in found["arrivals"]] == list(range(10))
    assert found["arrivals"][0][1] == pytest.approx(0.5, abs=1e-3)
    assert found["counters"]["dropped_full"] == 30
    assert found["counters"]["delivered_bytes"] == 10 * PACKET
    assert found["counters"]["dropped_loss"] == found["counters"]["dropped_down"] == 0


def test_a_change_of_rate_reaches_what_waits_and_a_rate_of_zero_holds_it(by_netem):
    changes = [[0.5, {"rate_bps": 0}], [2.0, {"rate_bps": 800_000}]]
    found = by_netem("arrivals", {"rate_bps": 80_000}, 12, PACKET, changes)["arrivals"]

    times = [at for _, at in found]
    assert len(times) == 12
    assert sum(at < 0.5 for at in times) == 4  # the first burst, and one every 0.15 s
    assert sum(0.6 < at < 2.0 for at in times) == 0
    assert times[-1] < 2.2


def test_a_link_that_goes_down_loses_its_queue_and_what_comes_until_it_is_up(by_netem):
    link = {"rate_bps": 800_000}
    found = by_netem("arrivals", link, 10, PACKET, [[0.040, {"is_up": False}]])

    assert [number for number, _ in found["arrivals"]] == [0, 1, 2]
    assert found["counters"]["dropped_down"] == 7
    assert found["counters"]["dropped_full"] == found["counters"]["dropped_loss"] == 0


def test_losses_are_as_many_as_asked(by_netem):
    link = {"rate_bps": 100_000_000, "loss_fraction": 0.1, "loss_seed": 1}
    found = by_netem("arrivals", link, 2000, 200)

    lost = found["counters"]["dropped_loss"]
    assert lost == 2000 - len(found["arrivals"])
    assert lost / 2000 == pytest.approx(0.1, abs=0.03)


def test_a_trace_is_followed_in_steps(by_netem):
    """100 opportunities in the first second, none in the next, then 50 a second."""
    times = [*range(10, 1001, 10), *range(2020, 4001, 20)]
    link = {"trace": {"opportunities_ms": times, "period_ms": 0}}
    found = by_netem("arrivals", link, 150, PACKET, [], True)["arrivals"]

    assert len(found) == 150
    counts = [sum(second <= at < second + 1 for _, at in found) for second in range(3)]
    assert counts == pytest.approx([100, 0, 50], abs=6)
