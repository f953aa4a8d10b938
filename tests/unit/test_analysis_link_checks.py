# SPDX-License-Identifier: Apache-2.0
"""A link that did not do what was asked makes a run invalid, and one that did does not."""

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import checks, link_checks, ride, tables
from analysis.tables import Origin
from analysis.verdict import judge_frames
from tests.unit.analysis_recorded import recorded

RATE_BPS = 8_000_000
BYTES_PER_S = RATE_BPS // 8


@pytest.fixture
def frames():
    return recorded("download")


def samples(*steps, link="wifi", direction="b_to_a"):
    """Return link samples from (t_s, busy_s, delivered_bytes) since the start."""
    lines = [
        {
            "t_ns": round(t_s * 1e9),
            "links": {
                link: {
                    direction: {
                        "busy_ns": round(busy_s * 1e9),
                        "delivered_bytes": delivered,
                        "opportunities": 0,
                    }
                }
            },
        }
        for t_s, busy_s, delivered in steps
    ]
    return tables.link_sample_rows(lines, Origin("run", ""))


def way(frames, link="wifi", direction="b_to_a"):
    return ride.direction_of(frames.run, link, direction)


def checks_of(frames):
    return {reason.check for reason in judge_frames(frames).reasons}


def test_a_busy_link_that_carried_its_rate_is_well(frames):
    way(frames)["rate_bps"] = RATE_BPS
    frames.link_samples = samples((0, 0, 0), (1, 1, BYTES_PER_S), (2, 1.5, BYTES_PER_S * 3 // 2))

    assert link_checks.check_busy_rate(frames) == []


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_busy_link_with_another_rate_is_found(frames, share):
    way(frames)["rate_bps"] = RATE_BPS
    frames.link_samples = samples((0, 0, 0), (60, 60, round(60 * BYTES_PER_S * share)))

    (reason,) = link_checks.check_busy_rate(frames)
    assert reason.level == "invalid"
    assert "carried" in reason.message
    assert "8 Mbit/s" in reason.message


def test_an_idle_link_says_nothing_of_its_rate(frames):
    way(frames)["rate_bps"] = RATE_BPS
    frames.link_samples = samples((0, 0, 0), (60, 0, 0))

    assert link_checks.check_busy_rate(frames) == []


def test_each_rate_of_a_link_is_checked_by_itself(frames):
    """Half of the time at 8, half at 4 Mbit/s: the mean would be right for neither."""
    way(frames)["rate_bps"] = RATE_BPS
    frames.run["events"] = [
        {"at_s": 10, "change": "link", "link": "wifi", "direction": "b_to_a", "rate_bps": 4_000_000}
    ]
    good = samples((0, 0, 0), (10, 10, 10_000_000), (20, 20, 15_000_000))
    frames.link_samples = good
    assert link_checks.check_busy_rate(frames) == []

    frames.link_samples = samples((0, 0, 0), (10, 10, 7_500_000), (20, 20, 15_000_000))
    found = link_checks.check_busy_rate(frames)
    assert ["8 Mbit/s" in reason.message for reason in found] == [False, True]


def test_a_saturated_link_follows_its_trace(frames):
    times = list(range(10, 20_010, 10))
    way(frames)["trace"] = {"opportunities_ms": times, "period_ms": 0, "offset_s": 0}
    frames.link_samples = samples((0, 0, 0), (10, 10, 1_500_000), (20, 20, 3_000_000))
    assert link_checks.check_busy_rate(frames) == []

    frames.link_samples = samples((0, 0, 0), (10, 10, 1_400_000), (20, 20, 2_900_000))
    (reason,) = link_checks.check_busy_rate(frames)
    assert reason.check == "trace"
    assert "saturated from 0" in reason.message


def test_a_link_that_was_not_saturated_need_not_use_its_trace(frames):
    times = list(range(10, 20_010, 10))
    way(frames)["trace"] = {"opportunities_ms": times, "period_ms": 0, "offset_s": 0}
    frames.link_samples = samples((0, 0, 0), (10, 9, 1_200_000))

    assert link_checks.check_busy_rate(frames) == []


@pytest.mark.parametrize(
    ("measured", "is_well"), [(20_129.5, True), (20_149, False), (20_000, False)]
)
def test_the_base_rtt_is_what_was_asked(frames, measured, is_well):
    frames.base_rtt = {"wifi": {"asked_us": 20_128.0, "measured_us": [measured, measured + 9]}}

    assert (link_checks.check_base_rtt(frames) == []) is is_well


def test_a_late_change_is_found(frames):
    frames.manifest["events"] = [
        {"at_s": 5.0, "done_s": 5.0000001, "change": "link_up"},
        {"at_s": 9.0, "done_s": 9.5, "change": "link_down"},
    ]
    (reason,) = link_checks.check_lateness(frames)

    assert reason.message == "the change link_down of 9.000 s came 500.0 ms late"


def test_a_path_that_the_mode_does_not_use_must_be_silent(frames):
    frames.run["expected_use"] = {"wifi": [[0, 1000]]}

    (reason,) = [r for r in judge_frames(frames).reasons if r.check == "paths"]
    assert "path 3g carried" in reason.message


def test_a_path_that_the_mode_expects_must_carry_data(frames, monkeypatch):
    monkeypatch.setattr(checks, "EXPECTED_AFTER_S", 0.5)  # the recorded run is short
    frames.run["expected_use"] = {"wifi": [[0, 1000]], "3g": [[0, 1000]]}
    frames.data.loc[frames.data["path"] == "3g", "new_bytes"] = 0

    assert "paths" in checks_of(frames)


def test_a_tcp_mode_that_used_mptcp_is_found(frames):
    frames.run["transport"] = "tcp"

    assert "transport" in checks_of(frames)


def test_a_tcp_mode_needs_no_mptcp(frames):
    plain = copy.deepcopy(frames)
    plain.run["transport"] = "tcp"
    plain.subflows = plain.subflows.assign(is_mptcp=False)

    assert "fallback" not in checks_of(plain)
    assert "transport" not in checks_of(plain)


CHANGES = [
    {"at_s": 2.0, "rate_bps": 4_000_000},
    {"at_s": 3.0, "is_up": False},
    {"at_s": 5.0, "is_up": True, "rate_bps": 0},
]


@pytest.mark.parametrize(
    ("at_s", "rate_bps"),
    [(0, 8e6), (1.99, 8e6), (2.5, 4e6), (3.5, 0), (6, 0)],
)
def test_the_rate_of_a_link_at_a_time(at_s, rate_bps):
    assert ride.rate_at({"rate_bps": RATE_BPS}, CHANGES, at_s) == rate_bps


def test_capacity_follows_changes_of_the_rate():
    edges = np.array([0.0, 1.0, 2.5, 4.0, 10.0])
    found = ride.capacity_bytes({"rate_bps": RATE_BPS}, edges, CHANGES[:1])

    assert found.tolist() == [1e6, 1e6 + 0.25e6, 0.75e6, 3e6]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(8, 10**9)), max_size=6),
    st.lists(st.floats(0, 120), min_size=2, max_size=8, unique=True),
)
def test_capacities_of_parts_add_up(steps, edges):
    changes = [{"at_s": at_s, "rate_bps": rate} for at_s, rate in sorted(steps)]
    edges = np.array(sorted(edges))
    parts = ride.capacity_bytes({"rate_bps": 8}, edges, changes)
    whole = ride.capacity_bytes({"rate_bps": 8}, edges[[0, -1]], changes)

    assert (parts >= -1e-6).all()
    assert parts.sum() == pytest.approx(whole[0])


def test_changes_of_a_link_and_a_direction():
    run = {
        "events": [
            {"at_s": 3, "change": "link_down", "link": "wifi"},
            {"at_s": 1, "change": "link", "link": "wifi", "direction": "a_to_b", "rate_bps": 1},
            {"at_s": 2, "change": "link", "link": "wifi", "direction": "b_to_a", "rate_bps": 2},
            {"at_s": 2, "change": "link_down", "link": "3g"},
            {"at_s": 2, "change": "address_gone", "path": "wifi"},
        ]
    }
    found = ride.link_changes(run, "wifi", "b_to_a")

    assert [change.get("rate_bps", change.get("is_up")) for change in found] == [2, False]


def test_link_samples_become_rows():
    table = samples((0, 0, 0), (1, 0.5, 7))

    assert table["t_s"].tolist() == [0, 1]
    assert table["busy_ns"].tolist() == [0, 500_000_000]
    assert isinstance(table, pd.DataFrame)
