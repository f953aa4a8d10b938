# SPDX-License-Identifier: Apache-2.0
"""Where things are, and how somebody walks past them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Point(NamedTuple):
    """A place on the map, in metres."""

    x_m: float
    y_m: float

    def distance_m(self, other: "Point") -> float:
        """Return how far another place is away."""
        return math.hypot(self.x_m - other.x_m, self.y_m - other.y_m)


class Step(NamedTuple):
    """A way point and the time at which it is reached."""

    at_s: float
    point: Point


def walk(way_points: Sequence[Point], speed_m_s: float, duration_s: float) -> list[Step]:
    """Return when somebody is where, who walks along way points and waits at the last one.

    The walk ends with the duration, wherever that is.
    """
    steps = [Step(0.0, way_points[0])]
    for here, there in pairwise(way_points):
        length_m = here.distance_m(there)
        if not length_m:
            continue
        at_s = steps[-1].at_s + length_m / speed_m_s
        if at_s >= duration_s:
            left = (duration_s - steps[-1].at_s) * speed_m_s / length_m
            return [*steps, Step(duration_s, _between(here, there, left))]
        steps.append(Step(at_s, there))
    return steps


def position(steps: Sequence[Step], at_s: float) -> Point:
    """Return where the walker is at a time."""
    for before, after in pairwise(steps):
        if before.at_s <= at_s < after.at_s:
            share = (at_s - before.at_s) / (after.at_s - before.at_s)
            return _between(before.point, after.point, share)
    return steps[-1].point


def _between(here: Point, there: Point, share: float) -> Point:
    return Point(
        here.x_m + share * (there.x_m - here.x_m), here.y_m + share * (there.y_m - here.y_m)
    )
