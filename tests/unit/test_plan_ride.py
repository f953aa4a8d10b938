# SPDX-License-Identifier: Apache-2.0
"""Rides: when there is WiFi, when the laptop can use it, and when 3G fades."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.plan.events import coverage_changes, fade_changes
from testbed.plan.ride import MOUTH_S, Ride, make_ride, usable_spans
from testbed.plan.spans import clip, complement, subtract
from testbed.spec.ride import RideSpec

TENTHS = st.integers(0, 100).map(lambda number: number / 10)
SEEDS = st.integers(0, 2**64 - 1)


def ride(dwell="5 s", tunnel="15 s", **others):
    values = {"dwell": dwell, "tunnel": tunnel, "fades": 0, **others}
    return RideSpec.model_validate(values)


def ranges(spans):
    return st.tuples(spans, spans).map(sorted).map(lambda pair: f"{pair[0]} s .. {pair[1]} s")


RIDES = st.builds(
    ride,
    dwell=ranges(st.integers(1, 9)),
    tunnel=ranges(st.integers(0, 20)),
    fades=st.sampled_from([0, 1, "1 .. 3", 5]),
    fade=ranges(st.integers(0, 6)),
    stations=st.integers(1, 5),
    association=st.sampled_from(["0 s", "500 ms", "900 ms"]),
    detection=st.sampled_from(["0 s", "500 ms", "7 s"]),
)


def is_ascending(spans):
    edges = [edge for span in spans for edge in span]
    return edges == sorted(edges) and all(start < end for start, end in spans)


def test_ride_begins_and_ends_in_a_station():
    assert make_ride(ride(stations=3), 1, 60).stations == [(0, 5), (20, 25), (40, 60)]


def test_ride_is_cut_at_the_end_of_the_run():
    assert make_ride(ride(), 1, 42).stations == [(0, 5), (20, 25), (40, 42)]
    assert make_ride(ride(), 1, 40).stations == [(0, 5), (20, 25)]
    assert make_ride(ride(), 1, 3).stations == [(0, 3)]


def test_ride_without_tunnels_is_one_station():
    assert make_ride(ride(tunnel="0 s"), 1, 60).stations == [(0, 60)]


def test_ride_with_a_single_station_stays_there():
    assert make_ride(ride(stations=1), 1, 60) == Ride([(0, 60)], [])


def test_ride_of_stops_is_what_they_say():
    spec = ride(stops=[("1 s", "5 s"), ("9 s", "20 s")], fades_at=[("6 s", "7 s"), ("8 s", "30 s")])
    assert make_ride(spec, 1, 15) == Ride([(1, 5), (9, 15)], [(6, 7), (8, 15)])
    assert make_ride(spec, 2, 15) == make_ride(spec, 1, 15)


def test_ride_of_no_stops_has_no_station():
    assert make_ride(ride(stops=[]), 1, 60) == Ride([], [])


def test_ride_of_seed_1_stays_what_it_is():
    """Results of one version can be compared with those of another."""
    made = make_ride(RideSpec(stations=3), 1, 600)
    assert made.stations == [(0.0, 25.52), (140.242, 166.042), (262.324, 600)]
    assert made.fades == [
        (45.697, 47.494),
        (94.576, 98.939),
        (103.044, 107.571),
        (172.22, 176.646),
        (206.425, 208.889),
        (232.982, 237.964),
    ]


@given(RIDES, SEEDS)
def test_same_seed_same_ride(spec, seed):
    assert make_ride(spec, seed, 60) == make_ride(spec, seed, 60)


def test_another_seed_is_another_ride():
    spec = ride(dwell="5 s .. 9 s", fades="1 .. 3")
    assert make_ride(spec, 1, 100) != make_ride(spec, 2, 100)


@given(RIDES, SEEDS, st.integers(1, 100))
def test_stations_and_fades_ascend_within_the_run(spec, seed, duration):
    made = make_ride(spec, seed, duration)
    assert is_ascending(made.stations)
    assert len(made.stations) <= spec.stations
    assert all(
        0 <= edge <= duration for spans in (made.stations, made.fades) for edge in sum(spans, ())
    )
    edges = [edge for fade in made.fades for edge in fade]
    assert edges == sorted(edges)


@given(RIDES, SEEDS)
def test_stays_and_tunnels_are_within_their_ranges(spec, seed):
    """But for the last station, and for tunnels of no time, which join two stations."""
    stations = make_ride(spec, seed, 1000).stations
    if spec.tunnel[0] == 0:
        return
    for start, end in stations[:-1]:
        assert spec.dwell[0] - 2e-3 <= end - start <= spec.dwell[1] + 2e-3
    for (_, leaves), (arrives, _) in pairwise(stations):
        assert spec.tunnel[0] - 2e-3 <= arrives - leaves <= spec.tunnel[1] + 2e-3


@given(RIDES, SEEDS)
def test_fades_are_in_tunnels_away_from_their_mouths(spec, seed):
    made = make_ride(spec, seed, 100)
    tunnels = complement(made.stations, 100)
    for start, end in made.fades:
        near = [(a, b) for a, b in tunnels if a <= start and end <= b + 1e-3]
        assert near, (made, start, end)
        assert near[0][0] + MOUTH_S - 2e-3 <= start


@given(RIDES, SEEDS)
def test_every_tunnel_has_as_many_fades_as_asked_for(spec, seed):
    made = make_ride(spec, seed, 1000)
    for start, end in complement(made.stations, 1000):
        count = len([fade for fade in made.fades if start <= fade[0] < end])
        assert count <= spec.fades[1]
        if end - start > 2 * MOUTH_S + 1 and spec.fade[0] > 0 and spec.tunnel[0] > 0:
            assert spec.fades[0] <= count


@given(RIDES, SEEDS, st.integers(1, 100))
def test_usable_is_inside_coverage_and_detection(spec, seed, duration):
    """No address before the association, none longer than the detection after the radio."""
    coverage = make_ride(spec, seed, duration).stations
    usable = usable_spans(spec, coverage, duration)
    assert is_ascending(usable)
    longer = [(start, end + spec.detection) for start, end in coverage]
    uncovered = complement(_union(longer), duration)
    assert subtract(usable, complement(uncovered, duration), duration) == []
    for start, _ in usable:
        assert start == 0 or any(abs(start - a - spec.association) < 1e-9 for a, _ in coverage)


def _union(spans):
    joined = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


TIMES = {"association": "1500 ms", "detection": "500 ms"}


@pytest.mark.parametrize(
    ("coverage", "usable"),
    [
        ([(0, 5), (20, 25)], [(0, 5.5), (21.5, 25.5)]),
        ([(3, 9)], [(4.5, 9.5)]),
        ([(0, 30)], [(0, 30)]),
        ([], []),
        # a tunnel shorter than the detection costs no address
        ([(0, 5), (5.4, 9)], [(0, 9.5)]),
        ([(0, 5), (5.4, 6), (6.5, 9)], [(0, 9.5)]),
        # one that is longer costs it, and the association comes again
        ([(0, 5), (5.6, 9)], [(0, 5.5), (7.1, 9.5)]),
        # a stay that is shorter than the association is none
        ([(0, 5), (10, 11.4), (20, 25)], [(0, 5.5), (21.5, 25.5)]),
        ([(0, 5), (28, 30)], [(0, 5.5), (29.5, 30)]),
    ],
)
def test_usable_spans(coverage, usable):
    found = usable_spans(ride(**TIMES), coverage, 30)
    assert [(round(start, 9), round(end, 9)) for start, end in found] == usable


LINK = {"name": "3g", "a_to_b": {"rate_bps": 2_000_000}}


def seen(changes):
    return [(change["at_s"], change["change"], change.get("rate_bps")) for change in changes]


def test_link_is_down_outside_the_stations():
    changes = list(coverage_changes(Ride([(0, 5), (20, 25)], []), "wifi", 30))
    assert seen(changes) == [(5, "link_down", None), (20, "link_up", None), (25, "link_down", None)]
    assert {change["link"] for change in changes} == {"wifi"}


def test_link_without_any_station_is_down_from_the_start():
    assert seen(coverage_changes(Ride([], []), "wifi", 30)) == [(0, "link_down", None)]


def test_uplink_stands_still_during_a_fade():
    changes = fade_changes(Ride([(0, 30)], [(6, 8)]), LINK, [])
    assert seen(changes) == [(6, "link", 0), (8, "link", 2_000_000)]
    assert {(one["link"], one["direction"]) for one in changes} == {("3g", "a_to_b")}


def asked(at_s, rate_bps, direction="a_to_b"):
    return {
        "at_s": at_s,
        "change": "link",
        "link": "3g",
        "direction": direction,
        "rate_bps": rate_bps,
    }


def test_rate_that_was_asked_for_is_the_uplink_s_after_a_fade():
    before, within, after = asked(2, 3_000_000), asked(7, 4_000_000), asked(9, 5_000_000)
    down = asked(7, 1_000_000, "b_to_a")
    changes = fade_changes(Ride([(0, 30)], [(6, 8)]), LINK, [before, within, down, after])
    changes.sort(key=lambda change: change["at_s"])
    assert changes == [before, asked(6, 0), down, asked(8, 4_000_000), after]


def test_uplink_that_follows_a_trace_does_what_that_says():
    """It has no rate that could be given back to it."""
    link = {"name": "3g", "a_to_b": {"rate_bps": None}}
    assert fade_changes(Ride([(0, 30)], [(6, 8)]), link, []) == []


SPANS = st.lists(TENTHS, max_size=8, unique=True).map(
    lambda edges: list(zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False))
)


@given(SPANS, SPANS, TENTHS)
def test_spans_and_what_is_left(spans, holes, end):
    """Every moment is in exactly one of spans and complement, and in no hole after all."""
    for moment in [tenth / 10 + 0.05 for tenth in range(100)]:
        if moment > end:
            continue
        inside = [any(a < moment < b for a, b in part) for part in (
            clip(spans, end), complement(spans, end), subtract(spans, holes, end), holes
        )]  # fmt: skip
        assert inside[0] != inside[1]
        assert inside[2] == (inside[0] and not inside[3])
