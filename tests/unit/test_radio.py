# SPDX-License-Identifier: Apache-2.0
"""The radio model: where a station is, what it hears, and what a link carries for it."""

import statistics

import pytest

from testbed.radio import airtime, phy
from testbed.radio.beacons import Beacons
from testbed.radio.geometry import Point, position, walk
from testbed.radio.propagation import Propagation, frequency_mhz

AIR = Propagation(15.0, 3.0, 4.0, seed=1)


def test_a_walk_takes_its_time_and_ends_with_the_run():
    steps = walk([Point(0, 0), Point(30, 40), Point(30, 100)], 2.0, 40.0)
    assert [step.at_s for step in steps] == [0, 25, 40]
    assert position(steps, 12.5) == (15, 20)
    assert position(steps, 40) == steps[-1].point == (30, 70)


def test_who_has_arrived_waits():
    assert position(walk([Point(0, 0), Point(10, 0)], 1.0, 60.0), 50.0) == (10, 0)


@pytest.mark.parametrize(("channel", "mhz"), [(1, 2412), (11, 2462), (36, 5180), (149, 5745)])
def test_channels_have_their_frequencies(channel, mhz):
    assert frequency_mhz(channel) == mhz


def test_path_loss_is_thirty_decibels_per_decade_and_greater_at_5_ghz():
    near, far = (AIR.mean_signal_dbm(distance, 1) for distance in (5, 50))
    assert near - far == pytest.approx(30)
    assert AIR.mean_signal_dbm(5, 1) - AIR.mean_signal_dbm(5, 36) == pytest.approx(6.64, abs=0.01)
    # Free space at 1 m and 2.412 GHz is 40.1 dB.
    assert AIR.mean_signal_dbm(1, 1) == pytest.approx(15 - 40.1, abs=0.05)


def test_the_range_is_where_the_signal_is_that_weak():
    assert AIR.mean_signal_dbm(AIR.range_m(6, -80), 6) == pytest.approx(-80)


def test_shadowing_belongs_to_the_place_and_comes_from_the_seed():
    place, ap = Point(33.3, 7.1), Point(0, 0)
    same = Propagation(15.0, 3.0, 4.0, seed=1)
    other = Propagation(15.0, 3.0, 4.0, seed=2)
    assert AIR.signal_dbm("ap1", ap, 1, place) == same.signal_dbm("ap1", ap, 1, place)
    assert AIR.signal_dbm("ap1", ap, 1, place) != other.signal_dbm("ap1", ap, 1, place)
    assert AIR.signal_dbm("ap1", ap, 1, place) != AIR.signal_dbm("ap2", ap, 1, place)


def test_shadowing_has_its_deviation_everywhere_and_changes_slowly():
    def shadow(x, y):
        place = Point(x, y)
        mean = AIR.mean_signal_dbm(place.distance_m(Point(0, 0)), 1)
        return AIR.signal_dbm("ap1", Point(0, 0), 1, place) - mean

    values = [shadow(37.3 * i, 23.9 * j) for i in range(40) for j in range(40)]
    assert statistics.stdev(values) == pytest.approx(4, rel=0.08)
    assert statistics.mean(values) == pytest.approx(0, abs=0.4)
    assert max(abs(shadow(x / 10, 9) - shadow(x / 10 + 0.1, 9)) for x in range(300)) < 1


def test_no_shadowing_is_the_mean():
    plain = Propagation(15.0, 3.0, 0.0, seed=1)
    assert plain.signal_dbm("a", Point(0, 0), 1, Point(9, 0)) == plain.mean_signal_dbm(9, 1)


def test_54_mbps_carry_30_to_who_has_the_channel_alone():
    # 802.11g without protection: 31 Mbit/s of IP packets are the well-known limit.
    assert phy.goodput_bps("g", phy.SCHEMES["g"][-1], 60) / 1e6 == pytest.approx(30.5, abs=0.5)
    assert phy.goodput_bps("g", phy.SCHEMES["g"][0], 60) / 1e6 == pytest.approx(5.4, abs=0.1)


def test_aggregation_makes_the_overhead_small():
    assert phy.goodput_bps("n", phy.SCHEMES["n"][-1], 60) > 0.9 * 65e6


@pytest.mark.parametrize("kind", ["g", "n"])
def test_a_weaker_signal_never_carries_more(kind):
    rates = [phy.quality(kind, -signal / 10).rate_bps for signal in range(400, 900)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_loss_is_near_the_edge_only():
    edge = phy.edge_dbm("g")
    assert edge == pytest.approx(-82.6)
    assert phy.quality("g", edge - 0.01) == phy.OUT_OF_RANGE
    assert 0.005 < phy.quality("g", edge + 0.01).loss_fraction <= 0.01
    assert phy.quality("g", edge + 2).loss_fraction == 0


def test_a_frame_at_the_sensitivity_is_lost_one_time_in_ten():
    scheme = phy.SCHEMES["g"][4]
    assert phy.frame_loss(phy.snr_db(scheme.sensitivity_dbm), scheme) == pytest.approx(0.1)
    assert phy.frame_loss(phy.snr_db(scheme.sensitivity_dbm) + 2, scheme) == pytest.approx(0.001)


def test_stations_of_one_channel_send_the_same_number_of_packets():
    assert airtime.shared_rates([30e6, 30e6]) == [15e6, 15e6]
    fast, slow = airtime.shared_rates([30e6, 6e6])
    assert fast == slow == pytest.approx(5e6)
    assert airtime.shared_rates([30e6, 0]) == [0, 0]


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [(1, 1, 0.6), (1, 11, 1.5), (1, 6, 1.5), (1, 36, 2.0), (36, 149, 2.0), (36, 44, 1.5)],
)
def test_what_two_radios_get_together(first, second, total):
    assert airtime.pair_total(first, second) == total
    both = airtime.radio_share(first, [second]) + airtime.radio_share(second, [first])
    assert both == pytest.approx(total)


def test_channels_that_overlap_in_part_are_between():
    assert 0.6 < airtime.pair_total(1, 3) < airtime.pair_total(1, 5) < 1.5


def test_beacons_are_counted_over_the_window():
    always = Beacons("ap1", 1, lambda t: -50.0, -82.0)
    never = Beacons("ap1", 1, lambda t: float("-inf"), -82.0)
    assert always.count(10.0, 2.0) in (19, 20)
    assert never.count(10.0, 2.0) == 0
    assert always.count(0.5, 2.0) == 5  # those of the run only


def test_at_the_edge_half_of_the_beacons_are_heard_the_same_ones_each_time():
    edge = Beacons("ap1", 1, lambda t: -82.0, -82.0)
    assert edge.count(1000, 1000) == pytest.approx(4883, rel=0.05)
    again = Beacons("ap1", 1, lambda t: -82.0, -82.0)
    assert again.count(30, 20) == edge.count(30, 20)
