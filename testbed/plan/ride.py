# SPDX-License-Identifier: Apache-2.0
"""Makes a ride from its description and a seed: when there is WiFi, and when 3G fades."""

import random
from dataclasses import dataclass

from testbed.plan.spans import Spans, clip
from testbed.spec.ride import RideSpec

# A fade begins and ends in the tunnel, not at its mouth.
MOUTH_S = 1.0


@dataclass(frozen=True)
class Ride:
    """One ride.

    Attributes:
        stations: start and end of each time in a station.
        fades: of each time without 3G.
    """

    stations: Spans
    fades: Spans


def make_ride(spec: RideSpec, seed: int, duration_s: float) -> Ride:
    """Return the ride of a seed, within a duration."""
    if spec.stops is not None:
        return Ride(clip(spec.stops, duration_s), clip(spec.fades_at or [], duration_s))
    generator = random.Random(f"stations:{seed}")
    stations: Spans = []
    fades: Spans = []
    at = 0.0
    for number in range(spec.stations):
        leaves = at + generator.uniform(*spec.dwell)
        is_last = number == spec.stations - 1
        stations.append((at, duration_s if is_last else leaves))
        at = leaves + generator.uniform(*spec.tunnel)
        fades += [] if is_last else _fades(generator, spec, leaves, at)
        if at >= duration_s:
            break
    return Ride(_whole_ms(clip(_joined(stations), duration_s)), _whole_ms(clip(fades, duration_s)))


def _fades(generator: random.Random, spec: RideSpec, start_s: float, end_s: float) -> Spans:
    """Return the fades of one tunnel, each in its own part of it."""
    count = generator.randint(*spec.fades)
    first, room = start_s + MOUTH_S, (end_s - start_s - 2 * MOUTH_S) / max(count, 1)
    fades = []
    for number in range(count):
        length = min(generator.uniform(*spec.fade), max(room, 0.0))
        begin = first + number * room + generator.uniform(0, max(room - length, 0.0))
        fades.append((begin, begin + length))
    return [fade for fade in fades if fade[0] < fade[1]]


def _whole_ms(spans: Spans) -> Spans:
    return [(round(start, 3), round(end, 3)) for start, end in spans]


def _joined(spans: Spans) -> Spans:
    """Return spans that touch as one: a tunnel of 0 s is none."""
    joined: Spans = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif start < end:
            joined.append((start, end))
    return joined


def usable_spans(spec: RideSpec, coverage: Spans, duration_s: float) -> Spans:
    """Return when the client has an address on the covered path.

    It comes after the association and goes when the client has noticed that the radio is gone;
    a tunnel that is shorter than that costs packets, but not the address.
    """
    usable: Spans = []
    left_s: float | None = None
    for start, end in coverage:
        joined = start + spec.association if start > 0 else 0.0
        if usable and left_s is not None and start <= left_s + spec.detection:
            usable[-1] = (usable[-1][0], end + spec.detection)
        elif joined < end:
            usable.append((joined, end + spec.detection))
        else:
            continue
        left_s = end
    return clip(usable, duration_s)
