# SPDX-License-Identifier: Apache-2.0
"""In real time a run on a machine that did not keep up is suspect or invalid; others are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import link_checks, real_time, tables
from analysis.parse.machine import MachineSample, parse_machine
from analysis.tables import Origin
from tests.unit.analysis_recorded import recorded

DATA = Path(__file__).parents[1] / "data" / "machine"
QUIET = MachineSample(0.0, 0, 0, 0, 0, 0, 0)
LATER = MachineSample(10.0, 0, 2000, 100_000, 10_000, 0, 0)


@pytest.fixture
def frames():
    """A run that was recorded in virtual time, as if it had been in real time."""
    found = recorded("download")
    found.manifest |= {"clock": "real", "links": "netem, tbf"}
    return found


def with_timers(frames, late_s):
    table = pd.DataFrame({"late_s": np.asarray(late_s)})
    frames.timers = tables.with_keys(table, Origin("run", ""), np.arange(len(table)))
    return frames


def levels(reasons):
    return [reason.level for reason in reasons]


@pytest.mark.parametrize(
    ("late_s", "found"),
    [
        ([1e-4] * 1000, []),
        ([1e-4] * 999 + [0.5], []),  # one in a thousand is no rule
        ([1e-4] * 900 + [0.010] * 100, ["suspect"]),
        ([1e-4] * 900 + [0.050] * 100, ["invalid"]),
    ],
)
def test_late_timers(frames, late_s, found):
    assert levels(real_time.check_timers(with_timers(frames, late_s))) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"steal_ticks": 100}, ["suspect"]),
        ({"steal_ticks": 400}, ["invalid"]),
        ({"stalled_us": 5_000_000}, ["suspect"]),
        ({"stalled_us": 9_500_000}, ["invalid"]),
        ({"stalled_us": None}, []),
        ({"squeezed": 20}, ["suspect"]),
        ({"dropped": 1}, ["suspect"]),
        ({"dropped": 10}, ["invalid"]),
    ],
)
def test_a_busy_machine(frames, changes, found):
    frames.machine = [QUIET, replace(LATER, **changes)]
    assert levels(real_time.check_machine(frames)) == found


def test_virtual_time_waits_for_the_machine(frames):
    frames.manifest["clock"] = "virtual"
    frames.machine = [QUIET, replace(LATER, steal_ticks=2000, dropped=100)]
    with_timers(frames, [1.0] * 100)

    assert real_time.check_timers(frames) == real_time.check_machine(frames) == []


@pytest.mark.parametrize(
    ("measured_us", "found"),
    [(100_900, []), (104_000, ["suspect"]), (98_000, []), (116_000, ["invalid"])],
)
def test_the_base_rtt_may_be_off_by_a_millisecond_or_three_percent(frames, measured_us, found):
    frames.base_rtt = {"wifi": {"asked_us": 100_000, "measured_us": [measured_us]}}
    assert levels(link_checks.check_base_rtt(frames)) == found


@pytest.mark.parametrize(("late_s", "found"), [(0.005, []), (0.05, ["suspect"]), (1, ["invalid"])])
def test_a_timed_change_may_be_late_by_less_than_in_virtual_time(frames, late_s, found):
    frames.manifest["events"] = [{"change": "link_down", "at_s": 1.0, "done_s": 1.0 + late_s}]
    assert levels(link_checks.check_lateness(frames)) == found


def link_samples(rate_bps, backlog=3000, seconds=5):
    lines = [
        {
            "t_ns": round(second * 1e9),
            "links": {
                "wifi": {"b_to_a": {"delivered_bytes": second * rate_bps // 8, "backlog": backlog}}
            },
        }
        for second in range(seconds)
    ]
    return tables.link_sample_rows(lines, Origin("run", ""))


@pytest.mark.parametrize(
    ("fraction", "found"), [(1.0, []), (0.98, []), (0.92, ["suspect"]), (0.7, ["invalid"])]
)
def test_a_link_in_which_something_waits_carries_its_rate(frames, fraction, found):
    way = next(link for link in frames.run["topology"]["links"] if link["name"] == "wifi")["b_to_a"]
    way["rate_bps"], way["trace"] = 8_000_000, None
    frames.link_samples = link_samples(round(fraction * 8_000_000))
    assert levels(link_checks.check_busy_rate(frames)) == found

    frames.link_samples = link_samples(1_000_000, backlog=0)  # nothing waits: it had no more to do
    assert link_checks.check_busy_rate(frames) == []


def test_captured_samples_of_a_lab_in_real_time():
    first, *_, last = parse_machine((DATA / "7.3-lab_real_time.jsonl").read_bytes())

    assert first.t_s == pytest.approx(0.00266, abs=1e-5)
    assert (first.packets, last.dropped, last.stalled_us) == (0x2A, 0, None)
    assert last.ticks > first.ticks
    assert last.packets > first.packets


def test_captured_samples_of_a_machine_that_is_overloaded(frames):
    frames.machine = parse_machine((DATA / "host-overloaded.jsonl").read_bytes())

    (reason,) = real_time.check_machine(frames)
    assert reason.level == "invalid"
    assert "had no processor" in reason.message


def test_a_malformed_line_is_an_error():
    for line in (b'{"t_ns": 1}', b"[]", b'{"t_ns": 1, "stat": "cpu 1", "softnet": ""}', b"{"):
        with pytest.raises(ValueError):
            parse_machine(line)


def test_link_that_counts_its_work_is_judged_by_samples_in_which_it_never_rested():
    """A window that is small leaves a queue that is empty in between and not when it is sampled."""
    times_s, delivered, backlog = [0.0, 1.0, 2.0], [0, 1_000_000, 1_700_000], [1500, 1500, 1500]

    assert len(real_time.saturated(times_s, delivered, backlog)) == 2
    counted = real_time.saturated(times_s, delivered, backlog, [0.0, 1.0, 1.7])
    assert counted == [(0.0, 1.0, 1_000_000)]


def test_lab_links_that_rest_are_not_too_slow(frames):
    """A link that carried less than its rate is too slow only if it never rested."""
    way = next(link for link in frames.run["topology"]["links"] if link["name"] == "wifi")["b_to_a"]
    way["rate_bps"], way["trace"] = 8_000_000, None
    frames.manifest["links"] = "lab_link"
    for busy_fraction, found in ((0.92, []), (1.0, ["suspect"])):
        samples = link_samples(round(0.92 * 8_000_000))
        samples["busy_ns"] = samples["t_s"] * busy_fraction * 1e9
        frames.link_samples = samples
        assert levels(link_checks.check_busy_rate(frames)) == found
