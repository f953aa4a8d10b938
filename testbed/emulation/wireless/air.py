# SPDX-License-Identifier: Apache-2.0
"""Keeps the air between the radios in step with the samples of the plan."""

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from testbed.emulation.wireless.radios import Radio
from testbed.netlink.hwsim import Hearing, Simulator
from testbed.timetable import Timetable

# Below what any receiver makes out.
SILENCE_DBM = -120


class Pair(NamedTuple):
    """A NIC of the station and an access point.

    Attributes:
        link: the name of the link that they are.
        nic, ap: their radios.
        up_bytes, down_bytes: queue limits from the NIC to the access point, and back.
        samples: (t_s, signal_dbm, rate_bps, loss_fraction), in the order of time.
        seed: of the losses.
    """

    link: str
    nic: Radio
    ap: Radio
    up_bytes: int
    down_bytes: int
    samples: list[list[float]]
    seed: int

    def sample(self, t_s: float) -> list[float]:
        """Return the sample that holds at a time; before the first one, the first one."""
        at = bisect_right(self.samples, t_s, key=lambda one: one[0])
        return self.samples[max(at - 1, 0)]

    def hearings(self, t_s: float) -> list[Hearing]:
        """Return how the two hear each other at a time."""
        _, signal_dbm, rate_bps, loss_fraction = self.sample(t_s)
        is_up = rate_bps > 0
        ways = ((self.nic, self.ap, self.up_bytes, 0), (self.ap, self.nic, self.down_bytes, 1))
        return [
            Hearing(
                sender.number,
                receiver.number,
                round(signal_dbm) if is_up else SILENCE_DBM,
                is_up,
                round(rate_bps),
                queue_bytes,
                loss_fraction,
                2 * self.seed + way,
            )
            for sender, receiver, queue_bytes, way in ways
        ]


class Air:
    """The air of one run.

    Args:
        simulator: the driver of the radios.
        pairs: who may hear whom.
    """

    def __init__(self, simulator: Simulator, pairs: list[Pair]) -> None:
        self._simulator = simulator
        self._pairs = pairs
        self._said: dict[str, list[Hearing]] = {}
        # Called before the air changes, so that no counter spans two rates.
        self.before_change: Callable[[], None] = lambda: None

    def set(self, t_s: float) -> None:
        """Make the air that of a time of the run, with one message for all that differs."""
        changed: list[Hearing] = []
        for pair in self._pairs:
            hearings = pair.hearings(t_s)
            if self._said.get(pair.link) != hearings:
                self._said[pair.link] = hearings
                changed += hearings
        if changed:
            self.before_change()
            self._simulator.set_air(changed)

    def enter(self, timetable: Timetable, start_ns: int) -> None:
        """Enter all changes into a timetable."""
        times = {sample[0] for pair in self._pairs for sample in pair.samples}
        for t_s in sorted(times):
            if t_s > 0:
                timetable.at(start_ns + round(t_s * 1e9), partial(self.set, t_s))

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counters of each link, by direction as seen from the NIC."""
        found = self._simulator.counters()
        return {
            pair.link: {
                "up": found[pair.nic.number, pair.ap.number],
                "down": found[pair.ap.number, pair.nic.number],
            }
            for pair in self._pairs
        }
