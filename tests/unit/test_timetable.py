# SPDX-License-Identifier: Apache-2.0
"""Calls at exact times: their order, and what is late."""

import os
import select
from time import monotonic_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.timetable import Timetable, new_timer, set_timer


@given(st.lists(st.integers(0, 20), max_size=20))
def test_calls_go_by_time_and_then_by_entry(times):
    timetable, made = Timetable(), []
    for entry, time in enumerate(times):
        timetable.at(time, lambda call=(time, entry): made.append(call))
    timetable.call_due(20)
    assert made == sorted((time, entry) for entry, time in enumerate(times))
    assert timetable.next_ns() is None


def test_only_what_is_due_is_called():
    timetable, made = Timetable(), []
    for time in (30, 10, 20):
        timetable.at(time, lambda time=time: made.append(time))
    assert timetable.next_ns() == 10
    timetable.call_due(9)
    assert made == []
    timetable.call_due(20)
    assert made == [10, 20]
    assert timetable.next_ns() == 30


def test_repeated_call_keeps_its_step():
    """Being late once does not shift what follows, and nothing is left out."""
    timetable, made = Timetable(), []
    timetable.every(100, 10, lambda: made.append(timetable.next_ns()))
    timetable.call_due(100)
    assert timetable.next_ns() == 110
    timetable.call_due(135)
    assert len(made) == 4
    assert timetable.next_ns() == 140


def test_call_may_enter_calls():
    """One that is due at once is made in the same go."""
    timetable, made = Timetable(), []
    timetable.at(5, lambda: timetable.at(6, lambda: made.append("inner")))
    timetable.call_due(10)
    assert made == ["inner"]


def test_call_that_fails_is_not_made_again():
    timetable = Timetable()
    timetable.at(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        timetable.call_due(1)
    assert timetable.next_ns() is None


def test_repeated_call_that_fails_ends():
    timetable = Timetable()
    timetable.every(1, 1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        timetable.call_due(5)
    assert timetable.next_ns() is None


def test_repeated_and_single_calls_of_one_time_go_by_entry():
    """What is repeated is entered again behind those that were there before."""
    timetable, made = Timetable(), []
    timetable.every(10, 10, lambda: made.append("step"))
    timetable.at(20, lambda: made.append("event"))
    timetable.call_due(20)
    assert made == ["step", "event", "step"]


def test_timer_is_readable_at_its_time_and_not_before():
    timer, due_ns = new_timer(), monotonic_ns() + 20_000_000
    set_timer(timer, due_ns)
    assert select.select([timer], [], [], 0)[0] == []
    assert select.select([timer], [], [], 10)[0] == [timer]
    assert monotonic_ns() >= due_ns
    os.close(timer)


def test_timer_that_is_set_to_the_past_is_readable_at_once():
    timer = new_timer()
    set_timer(timer, monotonic_ns() - 1)
    assert select.select([timer], [], [], 10)[0] == [timer]
    os.close(timer)
