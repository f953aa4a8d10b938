# SPDX-License-Identifier: Apache-2.0
"""Calls at exact times of the monotonic clock, and the timer to wait for them with.

The timeouts of select, poll and epoll are late by a thousandth of the wait (the kernel's
select_estimate_accuracy); a timer descriptor (timerfd_create(2)) is not.
"""

import ctypes
import heapq
import itertools
import os
from collections.abc import Callable

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
NS_PER_S = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class Timetable:
    """Calls in the order of time and, at equal times, of entry.

    Args:
        late: gets when each call was due and by how much it was late, in ns; None: nobody wants
            to know.
    """

    def __init__(self, late: list[tuple[int, int]] | None = None) -> None:
        self._late = late
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Enter a call at a time of the monotonic clock."""
        heapq.heappush(self._heap, (time_ns, next(self._order), call))

    def every(self, start_ns: int, step_ns: int, call: Callable[[], None]) -> None:
        """Enter a call that is repeated."""

        def again() -> None:
            call()
            self.every(start_ns + step_ns, step_ns, call)

        self.at(start_ns, again)

    def next_ns(self) -> int | None:
        """Return the time of the next call."""
        return self._heap[0][0] if self._heap else None

    def call_due(self, now_ns: int) -> None:
        """Make the calls whose time has come."""
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, _, call = heapq.heappop(self._heap)
            if self._late is not None:
                self._late.append((due_ns, now_ns - due_ns))
            call()


def new_timer() -> int:
    """Return a descriptor that becomes readable at the times set with set_timer."""
    fd: int = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "no timer: " + os.strerror(ctypes.get_errno()))
    return fd


def set_timer(fd: int, time_ns: int) -> None:
    """Let a timer fire at a time of the monotonic clock, at once if it has passed; 0: never."""
    seconds, nanoseconds = divmod(time_ns, NS_PER_S)
    when = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # struct itimerspec
    if _libc.timerfd_settime(fd, TFD_TIMER_ABSTIME, when, None):
        raise OSError(ctypes.get_errno(), "the timer: " + os.strerror(ctypes.get_errno()))


def step_ns(seconds: float) -> int:
    """Return whole nanoseconds."""
    return round(seconds * 1e9)
