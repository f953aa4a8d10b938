# SPDX-License-Identifier: Apache-2.0
"""Link traces: reading, cutting, repeating and making them."""

import re
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


@given(odd_texts(60))
def test_any_text_is_a_trace_of_either_format_or_refused(text):
    is_refused_with_its_place(traces.parse_trace, text)


CSV_CHARACTERS = st.sampled_from([*"0123456789.,-e \n", "t_s", "rate_mbps", "loss", "up", "nan"])


@given(st.lists(CSV_CHARACTERS, max_size=40).map("".join))
def test_any_csv_is_a_trace_or_refused(text):
    """The head may be anything, or be right."""
    for head in (
        "",
        "t_s,rate_mbps\n",
        "t_s,rate_mbps,loss,up\n",
        "t_s,one_way_delay_ms,rate_mbps\n",
    ):
        is_refused_with_its_place(traces.parse_csv, head + text)


def is_refused_with_its_place(parse, text):
    try:
        found = parse(text, "t")
    except SpecError as error:
        assert re.match(r"t(:\d+)?: ", str(error))
        assert len(str(error).splitlines()) == 1
    else:
        steps = found if isinstance(found, list) else found.steps
        times = [step["at_s"] for step in steps]
        assert times == sorted(times)
        assert all(0 <= step.get("loss_fraction", 0) < 1 for step in steps)


NUMBERS = st.integers(0, 10**9).map(lambda number: number / 1000)
STEPS = (
    st.lists(
        st.tuples(
            NUMBERS, NUMBERS, NUMBERS, st.integers(0, 999).map(lambda n: n / 1000), st.booleans()
        ),
        min_size=1,
        max_size=9,
    )
    .map(lambda rows: sorted(rows, key=lambda row: row[0]))
    .filter(lambda rows: rows[-1][0] > 0)
)


@given(STEPS)
def test_csv_is_written_and_read_again(rows):
    lines = [
        f"{t:.3f},{rate:.3f},{delay:.3f},{loss:.3f},{up:d}\n" for t, rate, delay, loss, up in rows
    ]
    text = "t_s,rate_mbps,one_way_delay_ms,loss,up\n" + "".join(lines)
    assert traces.parse_trace(text, "t").steps == [
        {
            "at_s": t,
            "rate_bps": round(rate * 1e6),
            "one_way_delay_s": delay / 1e3,
            "loss_fraction": loss,
            "is_up": up,
        }
        for t, rate, delay, loss, up in rows
    ]


def test_csv_needs_only_time_and_rate():
    text = "\n t_s , rate_mbps \r\n\n 0 , 8 \r\n2.5,0.5"
    assert traces.parse_trace(text, "t") == traces.Trace(
        steps=[{"at_s": 0, "rate_bps": 8_000_000}, {"at_s": 2.5, "rate_bps": 500_000}]
    )


def test_format_is_known_by_its_first_line():
    assert traces.parse_trace("\n1\n2\n", "t") == traces.Trace(times_ms=[1, 2])
    assert traces.parse_trace("t_s,rate_mbps\n1,2\n", "t").times_ms == []


HEAD = "t.csv:1: the head line must be t_s,rate_mbps and may go on with "
BACK = "the time 1 s comes after 2 s; a trace must not go back in time"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: the trace is empty; give it a line per change"),
        ("t_s,rate_mbps\n", "t.csv: the trace is empty; give it a line per change"),
        ("t_s,rate_mbps\n0,8\n", "t.csv: the trace ends at 0 s, so it has no length"),
        ("t_s,rate_mbps\n0.0009,8\n", "t.csv: the trace is shorter than 1 ms"),
        ("t_s,rate_mbps\n2,8\n\n1,8\n", f"t.csv:4: {BACK}"),
        ("t_s\n1\n", HEAD),
        ("0,8\n1,8\n", HEAD),
        ("rate_mbps,t_s\n1,8\n", HEAD),
        ("t_s,rate_mbps,rate_mbps\n1,8,8\n", HEAD),
        ("t_s,rate_mbps,colour\n1,8,8\n", HEAD),
        ("t_s,loss\n1,0\n", HEAD),
        ("t_s,rate_mbps\n1\n", "t.csv:2: there are 1 values for 2 columns"),
        ("t_s,rate_mbps\n1,8,9\n", "t.csv:2: there are 3 values for 2 columns"),
        ("t_s,rate_mbps\nsoon,8\n", 't.csv:2: "soon" is not a time in s'),
        ("t_s,rate_mbps\n-1,8\n", 't.csv:2: "-1" is not a time in s'),
        ("t_s,rate_mbps\n1e3,8\n", 't.csv:2: "1e3" is not a time in s'),
        ("t_s,rate_mbps\nnan,8\n", 't.csv:2: "nan" is not a time in s'),
        ("t_s,rate_mbps\n1,\n", 't.csv:2: "" is not a rate in Mbit/s'),
        ("t_s,rate_mbps\n1,inf\n", 't.csv:2: "inf" is not a rate in Mbit/s'),
        ("t_s,rate_mbps\n1,٣\n", 't.csv:2: "٣" is not a rate in Mbit/s'),
        ("t_s,rate_mbps\n1,10000000000\n", 't.csv:2: "10000000000" is not a rate in Mbit/s'),
        ("t_s,rate_mbps,loss\n1,8,1\n", 't.csv:2: "1" is not a fraction below 1'),
        ("t_s,rate_mbps,up\n1,8,2\n", 't.csv:2: "2" is not 0 or 1'),
        ("t_s,rate_mbps,up\n1,8,0.5\n", 't.csv:2: "0.5" is not 0 or 1'),
        ("t_s,rate_mbps,one_way_delay_ms\n1,8,-3\n", 't.csv:2: "-3" is not a delay in ms'),
    ],
)
def test_what_is_no_csv(text, message):
    with pytest.raises(SpecError) as caught:
        traces.parse_csv(text, "t.csv")
    assert str(caught.value).startswith(message)


RATES = [{"at_s": 1.0, "rate_bps": 1}, {"at_s": 4.0, "rate_bps": 4}, {"at_s": 10.0, "rate_bps": 10}]


def rates(found):
    assert {one["change"] for one in found} == {"link"}
    return [(one["at_s"], one["rate_bps"]) for one in found]


@pytest.mark.parametrize(
    ("offset", "duration", "is_looped", "expected"),
    [
        # what holds before the first line is what the first line says
        (0, 5, False, [(0, 1), (1, 1), (4, 4)]),
        (0, 30, False, [(0, 1), (1, 1), (4, 4), (10, 10)]),
        (4, 30, False, [(0, 4), (6, 10)]),
        (5, 3, False, [(0, 4)]),
        (99, 30, False, [(0, 10)]),
        # the last line only ends a trace that is repeated
        (0, 10, True, [(0, 1), (1, 1), (4, 4)]),
        (0, 15, True, [(0, 1), (1, 1), (4, 4), (11, 1), (14, 4)]),
        (5, 10, True, [(0, 4), (6, 1), (9, 4)]),
        (10.5, 4, True, [(0, 4), (0.5, 1), (3.5, 4)]),
        (41, 2, True, [(0, 1)]),
    ],
)
def test_changes_of_a_csv_trace(offset, duration, is_looped, expected):
    assert rates(traces.changes(RATES, offset, duration, is_looped)) == expected


def test_changes_of_one_line_and_of_one_moment():
    assert rates(traces.changes(RATES[:1], 0, 3, True)) == [(0, 1), (1, 1), (2, 1)]
    twice = [
        {"at_s": 0.0, "rate_bps": 1},
        {"at_s": 0.0, "rate_bps": 2},
        {"at_s": 5.0, "rate_bps": 3},
    ]
    assert rates(traces.changes(twice, 0, 9, False)) == [(0, 2), (5, 3)]


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(0, 99),
    st.integers(1, 99),
)
def test_looped_changes_are_those_of_the_moment(times, offset, duration):
    """At every moment that value holds which the trace, counted from its last start, has then."""
    if times[-1] == 0:
        return
    steps = [{"at_s": float(time), "rate_bps": time} for time in times]
    found = rates(traces.changes(steps, offset, duration, True))
    assert found[0][0] == 0
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    kept = times[:-1] or times
    for moment in range(duration):
        wanted = [time for time in kept if time <= (offset + moment) % times[-1]]
        is_first_round = offset + moment < times[-1]
        holds = wanted[-1] if wanted else kept[0] if is_first_round else kept[-1]
        assert [rate for at, rate in found if at <= moment][-1] == holds


def test_a_cut_goes_on_where_the_trace_starts_again():
    assert traces.cut([0, 3, 10], 8, 10) == [2, 2, 5]


def test_trace_that_is_not_repeated_ends():
    assert traces.cut([0, 3, 10], 0, 100, is_looped=False) == [3, 10]
    assert traces.cut([0, 3, 10], 8, 100, is_looped=False) == [2]
    assert traces.cut([0, 3, 10], 10, 100, is_looped=False) == []


@given(TIMES, st.integers(0, 120), st.integers(0, 120))
def test_first_round_is_the_same_whether_repeated_or_not(times, offset, length):
    once = traces.cut(times, offset, length, is_looped=False)
    if offset + length <= times[-1]:
        looped = traces.cut(times, offset, length)
        # at its very end the repetition begins with what is at 0
        assert [time for time in looped if offset + time < times[-1]] == [
            time for time in once if offset + time < times[-1]
        ]
    assert all(offset + time <= times[-1] for time in once)


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
