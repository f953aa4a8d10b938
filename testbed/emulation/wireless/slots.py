# SPDX-License-Identifier: Apache-2.0
"""One NIC on several channels: the cycle of its slots.

The driver of the radio sends the null frames with and without the power management bit, because
mac80211 has no command for it: it switches power save off for all as soon as a radio has a second
station interface (ieee80211_recalc_ps in net/mac80211/mlme.c). The access points do not know that
they are part of an experiment: they see a station that sleeps, and buffer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from testbed.emulation.wireless.radios import Radio
from testbed.netlink.hwsim import EVERYWHERE, NOWHERE, Simulator
from testbed.timetable import Timetable

# How often an adaptive slot looks whether its channel is silent.
LOOK_NS = 2_000_000


class Slots:
    """The slots of one NIC.

    Args:
        simulator: the driver of the radios.
        radio: of the NIC.
        frequencies_mhz: of each link.
        plan: "slots" of run.json's "radio".
        carried: returns how many packets a link has carried.
        show: is told which links are open, first of all all that are ever closed.
    """

    def __init__(
        self,
        simulator: Simulator,
        radio: Radio,
        frequencies_mhz: dict[str, int],
        plan: dict[str, Any],
        carried: Callable[[str], int],
        show: Callable[[list[str]], None],
    ) -> None:
        self._simulator, self._radio = simulator, radio
        self._frequencies_mhz = frequencies_mhz
        self._slot_ns, self._switch_ns, self._silence_ns = (
            round(plan[name] * 1e9) for name in ("slot_s", "switch_s", "silence_s")
        )
        self._is_adaptive, self._epochs = bool(plan["is_adaptive"]), plan["epochs"]
        self._carried, self._show = carried, show
        self._is_switching = False
        self._cycle: list[list[str]] = []
        self._at = 0
        self._number = 0  # of the cycle: what an earlier one has planned is of no interest

    def start(self, timetable: Timetable, start_ns: int) -> None:
        """Enter the beginning of each cycle into a timetable."""
        self._timetable = timetable
        self._show([*self._frequencies_mhz])
        for epoch in self._epochs:
            at_ns = start_ns + round(epoch["at_s"] * 1e9)
            timetable.at(at_ns, partial(self._begin, at_ns, epoch["cycle"]))

    def _begin(self, now_ns: int, cycle: list[list[str]]) -> None:
        """Begin another cycle, at the channel that the NIC is on if it is still there."""
        before = {self._mhz(links) for links in self._cycle}
        here = self._mhz(self._cycle[self._at]) if self._cycle else None
        self._number += 1
        for links in cycle if len(cycle) > 1 else ():
            if self._mhz(links) not in before and self._mhz(links) != here:
                # Its access points have not heard yet that the station is away.
                self._tune(self._mhz(links))
                self._tune(NOWHERE)
        kept = [n for n, links in enumerate(cycle) if self._mhz(links) == here]
        self._cycle, self._at = cycle, kept[0] if kept else -1
        if kept and not self._is_switching:
            self._arrive(now_ns, now_ns + self._slot_ns, self._number)
        elif cycle:
            self._leave(now_ns, self._number)
        else:
            self._away()

    def joined(self, link: str) -> None:
        """Tell an access point that was joined just now if the NIC is on another channel."""
        here = NOWHERE if self._is_switching else self._mhz(self._cycle[self._at])
        if here != self._frequencies_mhz[link]:
            self._tune(self._frequencies_mhz[link])
            self._tune(NOWHERE)
            if here != NOWHERE:
                self._tune(here)

    def end(self) -> None:
        """End the cycle; the access points of all channels hear that the station is awake."""
        self._number += 1
        self._tune(EVERYWHERE)

    def _mhz(self, links: list[str]) -> int:
        return self._frequencies_mhz[links[0]]

    def _tune(self, frequency_mhz: int) -> None:
        self._simulator.tune(self._radio.number, frequency_mhz)

    def _packets(self) -> int:
        return sum(self._carried(link) for link in self._cycle[self._at])

    def _slot(self, now_ns: int, end_ns: int, number: int) -> None:
        """Be on the channel until its slot ends or, if slots are adaptive, it is silent."""
        if len(self._cycle) < 2:
            return
        if self._is_adaptive:
            self._look(now_ns, end_ns, now_ns, self._packets(), number)
        else:
            self._timetable.at(end_ns, partial(self._leave, end_ns, number))

    def _look(self, now_ns: int, end_ns: int, busy_ns: int, before: int, number: int) -> None:
        if number != self._number:
            return
        packets = self._packets()
        if packets != before:
            busy_ns = now_ns
        if now_ns >= end_ns or now_ns - busy_ns >= self._silence_ns:
            self._leave(now_ns, number)
            return
        next_ns = min(end_ns, now_ns + LOOK_NS)
        call = partial(self._look, next_ns, end_ns, busy_ns, packets, number)
        self._timetable.at(next_ns, call)

    def _leave(self, now_ns: int, number: int) -> None:
        if number != self._number:
            return
        self._away()
        self._at = (self._at + 1) % len(self._cycle)
        there_ns = now_ns + self._switch_ns
        end_ns = now_ns + self._slot_ns
        self._timetable.at(there_ns, partial(self._arrive, there_ns, end_ns, number))

    def _arrive(self, now_ns: int, end_ns: int, number: int) -> None:
        if number == self._number:
            self._is_switching = False
            self._tune(self._mhz(self._cycle[self._at]))
            self._show(self._cycle[self._at])
            self._slot(now_ns, end_ns, number)

    def _away(self) -> None:
        self._is_switching = True
        self._tune(NOWHERE)
        self._show([])
