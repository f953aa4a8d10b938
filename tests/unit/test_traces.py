# SPDX-License-Identifier: Apache-2.0
"""Link traces: reading, cutting, repeating and making them."""

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import traces
from testbed.errors import SpecError
from tests.unit.odd_texts import odd_texts


def mean_bps(times, length_ms):
    """Return what a trace can carry on average, in bit/s."""
    return len(times) * traces.OPPORTUNITY_BYTES * 8 / (length_ms / 1000)


def longest_pause_ms(times):
    """Return the longest time without an opportunity."""
    return max((later - earlier for earlier, later in pairwise([0, *times])), default=0)


TIMES = st.lists(st.integers(0, 50), min_size=1, max_size=15).map(sorted).filter(lambda t: t[-1])
FADES = [(15_000, 17_000), (35_000, 37_000), (55_000, 57_000)]
MINUTE_MS = 60_000


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1).map(sorted).filter(lambda t: t[-1]))
def test_written_and_read_again(times):
    assert traces.parse_mahimahi("".join(f"{time}\n" for time in times), "t") == times


def test_blanks_empty_lines_and_carriage_returns_are_passed_over():
    assert traces.parse_mahimahi("\n 1 \r\n\n1\r\n7", "t") == [1, 1, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.down: the trace is empty; give it one time in ms per line"),
        ("\n \n", "t.down: the trace is empty; give it one time in ms per line"),
        ("0\n0\n", "t.down: the trace ends at 0 ms, so it has no length"),
        (
            "1\n\n5\n3\n",
            "t.down:4: the time 3 ms comes after 5 ms; a trace must not go back in time",
        ),
        ("1\nsoon\n", 't.down:2: "soon" is not a time in ms'),
        ("1.5\n", 't.down:1: "1.5" is not a time in ms'),
        ("-1\n", 't.down:1: "-1" is not a time in ms'),
        ("1_000\n", 't.down:1: "1_000" is not a time in ms'),
        ("²\n", 't.down:1: "²" is not a time in ms'),
        ("٣\n", 't.down:1: "٣" is not a time in ms'),
        ("4294967296\n", 't.down:1: "4294967296" is not a time in ms'),
        ("9" * 5000, f't.down:1: "{"9" * 40}" is not a time in ms'),
        ("1 2\n", 't.down:1: "1 2" is not a time in ms'),
    ],
)
def test_what_is_no_trace(text, message):
    with pytest.raises(SpecError) as caught:
        traces.parse_mahimahi(text, "t.down")
    assert str(caught.value) == message


@given(odd_texts(60))
def test_any_text_is_a_trace_or_refused(text):
    try:
        times = traces.parse_mahimahi(text, "t")
    except SpecError as error:
        assert str(error).startswith("t:")
    else:
        assert times == sorted(times)


def test_a_cut_goes_on_where_the_trace_starts_again():
    assert traces.cut([0, 3, 10], 8, 10) == [2, 2, 5]


@given(TIMES, st.integers(0, 120), st.integers(0, 120))
def test_cut_is_ordered_and_within_its_length(times, offset, length):
    part = traces.cut(times, offset, length)
    assert part == sorted(part)
    assert all(0 < time <= length for time in part)


@given(TIMES, st.integers(0, 80), st.integers(0, 80), st.integers(0, 80))
def test_two_cuts_side_by_side_are_one_cut(times, offset, first, second):
    """No opportunity is lost or doubled where one part ends and the next one begins."""
    whole = traces.cut(times, offset, first + second)
    rest = traces.cut(times, offset + first, second)
    assert whole == traces.cut(times, offset, first) + [first + time for time in rest]


@given(TIMES, st.integers(0, 80), st.integers(0, 80))
def test_cut_is_periodic(times, offset, length):
    """One period later the same comes, but that nothing comes before the very first time."""
    period = times[-1]
    assert traces.cut(times, offset, length) == traces.cut(times, offset + period, length)


@given(TIMES, st.integers(1, 4))
def test_cut_of_whole_periods_repeats_the_looped_trace(times, periods):
    period = times[-1]
    # The end of one repetition is the start of the next one.
    cycle = [time for time in times if time > 0] + [times[-1]] * times.count(0)
    expected = [number * period + time for number in range(periods) for time in cycle]
    assert traces.cut(times, 0, periods * period) == expected


def test_synthetic_ride_follows_from_its_seed():
    first, again, other = (traces.synthetic(seed, 5_000, 2_000_000, []) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_synthetic_ride_of_seed_1_stays_what_it_is():
    """Results of one version can be compared with those of another."""
    assert traces.synthetic(1, 1_000, 2_000_000, [])[:8] == [7, 13, 19, 25, 31, 37, 43, 49]


@given(st.integers(0, 2**64 - 1), st.integers(1, 700), st.integers(100_000, 20_000_000))
def test_synthetic_ride_is_ordered_and_within_its_length(seed, length_ms, rate):
    times = traces.synthetic(seed, length_ms, rate, [(130, 230)])
    assert times == sorted(times)
    assert all(0 < time <= length_ms for time in times)
    assert not [time for time in times if 130 < time <= 230]


def test_synthetic_rides_have_the_mean_rate_that_was_asked_for():
    """Within 10 % over many rides; of one ride, half of its minutes are within a fifth."""
    length_ms, wanted = 20_000, 2_000_000
    means = [
        mean_bps(traces.synthetic(seed, length_ms, wanted, []), length_ms) for seed in range(24)
    ]
    assert statistics.mean(means) == pytest.approx(wanted, rel=0.10)
    assert sum(abs(mean / wanted - 1) < 0.2 for mean in means) > 12


def test_synthetic_ride_keeps_its_mean_outside_the_fades():
    times = traces.synthetic(1, MINUTE_MS, 2_000_000, [])
    faded = traces.synthetic(1, MINUTE_MS, 2_000_000, FADES)
    outside = MINUTE_MS - sum(end - start for start, end in FADES)
    assert mean_bps(faded, outside) == pytest.approx(mean_bps(times, MINUTE_MS), rel=0.05)


def test_synthetic_ride_is_silent_in_fades():
    times = traces.synthetic(1, MINUTE_MS, 2_000_000, FADES)
    for start, end in FADES:
        assert not [time for time in times if start < time <= end]
        assert [time for time in times if start - 50 < time <= start]
        assert [time for time in times if end < time <= end + 50]
    assert 2_000 <= longest_pause_ms(times) < 2_050


def test_mean_rate():
    assert mean_bps([1, 1, 500], 1_000) == 3 * 1500 * 8
