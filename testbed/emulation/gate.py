# SPDX-License-Identifier: Apache-2.0
"""One NIC on several channels by turns: the links of a channel are open while the NIC is on it.

A closed link serves nothing and keeps what waits, in both directions: at the access point, which
buffers for a station that sleeps, and at the station, whose driver has stopped its queues. It is
the rate 0 of lab_link, which also keeps how much of the first packet has been served, so that a
switch neither loses anything nor costs more than its time.

raw/gate.jsonl has one line for each time at which links open: {"t_s": 0.105, "open": ["w1-ap2"]},
the first with the names of all links that are gated.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.netlink.qdisc import LinkChange
from testbed.timetable import Timetable

DIRECTIONS = ("a_to_b", "b_to_a")
DOWN = "b_to_a"
NS_PER_S = 1_000_000_000
# A turn ends early only if the links were read so often without a change.
LOOKS = 2


class Gate:
    """Opens and closes links by the slots and scans of run.json's "radio".

    Args:
        network: the live network.
        radio: the plan.
        file: for the log.
    """

    def __init__(self, network: Network, radio: dict[str, Any], file: Path) -> None:
        self._network = network
        slots = radio["slots"]
        self._slots: dict[str, Any] = slots or {"epochs": []}
        scanning = {nic for _, _, nic in radio["scans"]} | ({slots["nic"]} if slots else set())
        self._links = [one["link"] for one in radio["links"] if one["nic"] in scanning]
        self._radio_links = [one["link"] for one in radio["links"]]
        self._scans = radio["scans"]
        # Without slots all links are open but for the scans.
        self._cycle: list[list[str]] = [] if slots else [self._links]
        self._turn, self._number = 0, 0
        self._open: list[str] = list(self._links)
        self._is_scanning, self._is_switching = False, False
        self._rates = {
            (name, direction): int(network.links[name][direction]["rate_bps"])
            for name in self._links
            for direction in DIRECTIONS
        }
        self._log = file.open("w")
        self._timetable: Timetable | None = None
        self._start_ns = 0

    def start(self, timetable: Timetable, start_ns: int) -> None:
        """Enter the slots and scans into the timetable of a run."""
        self._timetable, self._start_ns = timetable, start_ns
        self._write(0, self._links)
        for epoch in self._slots["epochs"]:
            timetable.at(start_ns + _ns(epoch["at_s"]), partial(self._begin, epoch))
        for begin_s, end_s, _ in self._scans:
            timetable.at(start_ns + _ns(begin_s), self._scan)
            timetable.at(start_ns + _ns(end_s), self._scanned)

    def holds(self, link: str) -> bool:
        """Say whether a link is gated."""
        return link in self._links

    def change(self, link: str, direction: str, change: LinkChange) -> None:
        """Change a gated link; its rate comes when it is open."""
        if change.rate_bps is not None:
            self._rates[link, direction] = change.rate_bps
            if link not in self._open:
                change = change._replace(rate_bps=0)
        self._network.change_link(link, direction, change)

    def release(self) -> None:
        """Open all links for good: the run has ended, and what waits is to arrive."""
        self._timetable = None
        self._set(self._links)

    def still(self) -> None:
        """Let nothing more down to the station: who is never silent is not to outrun a capture."""
        for name in self._radio_links:
            self._network.change_link(name, DOWN, LinkChange(rate_bps=0))

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _begin(self, epoch: dict[str, Any]) -> None:
        """Begin another cycle, at the group that is open now if it is still there."""
        before = self._now()
        self._cycle = epoch["cycle"]
        kept = [n for n, group in enumerate(self._cycle) if {*group} & {*before}]
        self._turn = kept[0] if kept else 0
        self._number += 1
        if kept and not self._is_switching:
            self._show()
            self._plan_end(self._start_ns + _ns(epoch["at_s"]))
        else:
            self._switch(self._start_ns + _ns(epoch["at_s"]))

    def _now(self) -> list[str]:
        return self._cycle[self._turn] if self._cycle else []

    def _switch(self, at_ns: int) -> None:
        """Leave the channel; the next one is there after the switch."""
        if not self._cycle:
            self._set([])
            return
        self._is_switching = True
        self._show()
        self._later(at_ns + _ns(self._slots["switch_s"]), self._arrive)
        self._plan_end(at_ns)

    def _arrive(self) -> None:
        self._is_switching = False
        self._show()
        if self._slots["is_adaptive"] and len(self._cycle) > 1:
            self._watch(LOOKS, self._counts())

    def _plan_end(self, begun_ns: int) -> None:
        if len(self._cycle) > 1:
            end_ns = begun_ns + _ns(self._slots["slot_s"])
            self._later(end_ns, partial(self._next, end_ns))

    def _next(self, at_ns: int) -> None:
        self._turn = (self._turn + 1) % len(self._cycle)
        self._number += 1
        self._switch(at_ns)

    def _watch(self, looks_left: int, before: list[int]) -> None:
        """End the turn when nothing has passed for the silence, which is looked for in parts."""
        at_ns = time.monotonic_ns() + _ns(self._slots["silence_s"]) // LOOKS

        def look() -> None:
            counts = self._counts()
            left = looks_left - 1 if counts == before else LOOKS
            if left:
                self._watch(left, counts)
            else:
                self._next(time.monotonic_ns())

        self._later(at_ns, look)

    def _counts(self) -> list[int]:
        """Return how much each open direction has delivered."""
        return [
            self._network.delivered_bytes(name, direction)
            for name in self._now()
            for direction in DIRECTIONS
        ]

    def _later(self, at_ns: int, call: Callable[[], None]) -> None:
        """Enter a call that is dropped if the turn has ended by then."""
        number = self._number

        def if_still() -> None:
            if number == self._number and self._timetable is not None:
                call()

        if self._timetable is not None:
            self._timetable.at(at_ns, if_still)

    def _scan(self) -> None:
        self._is_scanning = True
        self._show()

    def _scanned(self) -> None:
        self._is_scanning = False
        self._show()

    def _show(self) -> None:
        is_away = self._is_scanning or self._is_switching
        self._set([] if is_away else self._now())

    def _set(self, wanted: list[str]) -> None:
        """Open these links and close all others, the closing first."""
        closing = [name for name in self._open if name not in wanted]
        opening = [name for name in wanted if name not in self._open]
        for name in closing:
            for direction in DIRECTIONS:
                self._network.change_link(name, direction, LinkChange(rate_bps=0))
        for name in opening:
            for direction in DIRECTIONS:
                rate_bps = self._rates[name, direction]
                self._network.change_link(name, direction, LinkChange(rate_bps=rate_bps))
        self._open = list(wanted)
        if (closing or opening) and self._timetable is not None:
            self._write(time.monotonic_ns() - self._start_ns, wanted)

    def _write(self, t_ns: int, links: list[str]) -> None:
        self._log.write(json.dumps({"t_s": t_ns / NS_PER_S, "open": links}) + "\n")


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
