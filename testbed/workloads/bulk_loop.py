# SPDX-License-Identifier: Apache-2.0
"""An event loop that waits for sockets and for exact times, and never asks the clock in a loop."""

import heapq
import itertools
import os
import select
import time
from collections.abc import Callable

from testbed.timetable import new_timer, set_timer


class Loop:
    """Calls functions when descriptors are ready and when times have come.

    Attributes:
        wakeups: how often a descriptor other than the timer was ready.
    """

    def __init__(self) -> None:
        self.wakeups = 0
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}
        self._events: dict[int, int] = {}
        self._timetable: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._set_ns = 0
        self._timer = new_timer()
        self._epoll.register(self._timer, select.EPOLLIN)

    def watch(self, fd: int, events: int, call: Callable[[], None]) -> None:
        """Call when a descriptor is ready; replaces an earlier watch of it."""
        known = self._events.get(fd)
        if known is None:
            self._epoll.register(fd, events)
        elif known != events:
            self._epoll.modify(fd, events)
        self._events[fd] = events
        self._calls[fd] = call

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor that may or may not be watched."""
        if self._calls.pop(fd, None) is not None:
            del self._events[fd]
            self._epoll.unregister(fd)

    def at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Call at a time of the monotonic clock, or at once if it has passed."""
        heapq.heappush(self._timetable, (time_ns, next(self._order), call))

    def run(self, is_busy: Callable[[], bool]) -> None:
        """Wait and call, as long as is_busy() says so after the calls of one wakeup."""
        while is_busy():
            self._set_timer()
            for fd, _ in self._epoll.poll():
                if fd == self._timer:
                    self._call_due()
                elif call := self._calls.get(fd):  # not forgotten by a call before
                    self.wakeups += 1
                    call()

    def _set_timer(self) -> None:
        next_ns = self._timetable[0][0] if self._timetable else 0
        if next_ns != self._set_ns:
            set_timer(self._timer, next_ns)
            self._set_ns = next_ns

    def _call_due(self) -> None:
        os.read(self._timer, 8)
        self._set_ns = 0  # it has fired and stands still
        now_ns = time.monotonic_ns()
        while self._timetable and self._timetable[0][0] <= now_ns:
            heapq.heappop(self._timetable)[2]()
