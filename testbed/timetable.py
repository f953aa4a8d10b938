# SPDX-License-Identifier: Apache-2.0
"""Calls at exact times of the monotonic clock."""

import ctypes
import heapq
import itertools
from collections.abc import Callable

# prctl(2): how much later than asked the kernel may wake this process, by default 50 us.
PR_SET_TIMERSLACK = 29


class Timetable:
    """Calls in the order of time and, at equal times, of entry."""

    def __init__(self) -> None:
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
            heapq.heappop(self._heap)[2]()


def wake_exactly() -> None:
    """Ask the kernel to wake this process at the ns that it asks for."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
