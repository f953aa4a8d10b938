# SPDX-License-Identifier: Apache-2.0
"""What a station hears of each access point at each time of a run."""

import functools
import random
from dataclasses import dataclass

from testbed.plan.spans import Spans
from testbed.radio import phy
from testbed.radio.beacons import Beacons
from testbed.radio.geometry import Point, position, walk
from testbed.radio.propagation import Propagation
from testbed.spec.wifi import WifiSpec

SILENT_DBM = float("-inf")


@dataclass(frozen=True)
class AccessPoint:
    """An access point, and when it is off."""

    name: str
    channel: int
    place: Point
    outages: Spans


class Air:
    """The access points as the station hears them.

    Args:
        spec: the section "wifi".
        seed: of shadowing, fading and outages.
        duration_s: of the run.
    """

    def __init__(self, spec: WifiSpec, seed: int, duration_s: float) -> None:
        self.spec = spec
        self.duration_s = duration_s
        self.access_points = [_access_point(spec, n, seed, duration_s) for n in range(spec.aps)]
        self._known = {ap.name: ap for ap in self.access_points}
        places = [Point(*place) for place in spec.walk]
        if spec.at is not None:
            places = [Point(spec.at, spec.walk[0][1])]
        self.steps = walk(places, spec.speed, duration_s)
        self.propagation = Propagation(spec.tx_power, spec.exponent, spec.shadowing, seed)
        self.edge_dbm = phy.edge_dbm(spec.phy)
        self._beacons = {
            ap.name: Beacons(
                ap.name, seed, functools.partial(self.signal_dbm, ap.name), self.edge_dbm
            )
            for ap in self.access_points
        }

    def channel(self, name: str) -> int:
        """Return the channel of an access point."""
        return self._known[name].channel

    def times(self) -> list[float]:
        """Return when one looks at the air: at equal steps, and when an access point changes."""
        count = int(self.duration_s / self.spec.sample)
        looks = {round(number * self.spec.sample, 6) for number in range(count + 1)}
        edges = {at for ap in self.access_points for outage in ap.outages for at in outage}
        return sorted(at for at in looks | edges if at < self.duration_s)

    @functools.lru_cache(maxsize=65_536)  # noqa: B019  # lives as long as the plan is made
    def signal_dbm(self, name: str, at_s: float) -> float:
        """Return the signal of an access point; -inf while it is off."""
        ap = self._known[name]
        if any(start <= at_s < end for start, end in ap.outages):
            return SILENT_DBM
        here = position(self.steps, at_s)
        return self.propagation.signal_dbm(name, ap.place, ap.channel, here)

    def quality(self, name: str, at_s: float) -> phy.Quality:
        """Return what a link to an access point carries for one who has it alone."""
        return phy.quality(self.spec.phy, self.signal_dbm(name, at_s))

    def is_heard(self, name: str, at_s: float) -> bool:
        """Say whether an access point is in range."""
        return self.quality(name, at_s).rate_bps > 0

    def is_good(self, name: str, at_s: float, margins: float) -> bool:
        """Say whether an access point is some margins above the edge."""
        return self.signal_dbm(name, at_s) >= self.edge_dbm + margins * self.spec.joining.margin

    def beacons(self, name: str, at_s: float) -> int:
        """Return how many beacons were heard in the window that ends now."""
        return self._beacons[name].count(at_s, self.spec.joining.window)

    def best(self, at_s: float) -> list[str]:
        """Return the access points in range, the strongest first."""
        heard = [ap.name for ap in self.access_points if self.is_heard(ap.name, at_s)]
        return sorted(heard, key=lambda name: -self.signal_dbm(name, at_s))


def _access_point(spec: WifiSpec, number: int, seed: int, duration_s: float) -> AccessPoint:
    name = f"ap{number + 1}"
    place = Point(spec.first[0] + number * spec.spacing, spec.first[1])
    channel = spec.channels[number % len(spec.channels)]
    return AccessPoint(name, channel, place, _outages(spec, name, seed, duration_s))


def _outages(spec: WifiSpec, name: str, seed: int, duration_s: float) -> Spans:
    """Return the outages of an access point; it works at the start of the run."""
    if spec.outages.every is None:
        return []
    generator = random.Random(f"outages:{seed}:{name}")
    found: Spans = []
    at_s = 0.0
    while True:
        at_s = round(at_s + 0.001 + generator.expovariate(1 / spec.outages.every), 3)
        if at_s >= duration_s:
            return found
        end_s = round(at_s + 0.001 + generator.expovariate(1 / spec.outages.length), 3)
        found.append((at_s, end_s))
        at_s = end_s
