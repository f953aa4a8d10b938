# SPDX-License-Identifier: Apache-2.0
"""How strong an access point is heard: log-distance path loss and shadowing from a seed.

Shadowing belongs to the place: who comes back finds the same walls. It is a field of normal values
on a grid, interpolated, whose neighbours are as far apart as the correlation reaches (Gudmundson,
Electronics Letters 27(23), 1991, has 5 to 10 m indoors).
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from testbed.radio.geometry import Point

SPEED_OF_LIGHT_M_S = 299_792_458.0
REFERENCE_M = 1.0  # of the log-distance model; nearer than that is as near as that
GRID_M = 8.0
# 5 MHz per channel number; the bands begin at these (IEEE 802.11-2016, 15.4.4.3 and 17.3.8.4.2).
FIRST_24_GHZ_MHZ, FIRST_5_GHZ_MHZ, LAST_24_GHZ_CHANNEL = 2407, 5000, 13


def frequency_mhz(channel: int) -> int:
    """Return the centre frequency of a channel of 20 MHz."""
    is_24_ghz = channel <= LAST_24_GHZ_CHANNEL
    return (FIRST_24_GHZ_MHZ if is_24_ghz else FIRST_5_GHZ_MHZ) + 5 * channel


@dataclass(frozen=True)
class Propagation:
    """The air between access points and stations.

    Attributes:
        tx_power_dbm: what an access point sends, antenna gains included.
        exponent: of the log-distance model: 2 in free space, 3 to 4 between walls (Rappaport,
            Wireless Communications, table 4.2).
        shadowing_db: standard deviation of the shadowing.
        seed: of the shadowing.
    """

    tx_power_dbm: float
    exponent: float
    shadowing_db: float
    seed: int

    def mean_signal_dbm(self, distance_m: float, channel: int) -> float:
        """Return the received power without shadowing."""
        wavelength_m = SPEED_OF_LIGHT_M_S / (frequency_mhz(channel) * 1e6)
        first_db = 20 * math.log10(4 * math.pi * REFERENCE_M / wavelength_m)
        beyond_db = 10 * self.exponent * math.log10(max(distance_m, REFERENCE_M) / REFERENCE_M)
        return self.tx_power_dbm - first_db - beyond_db

    def signal_dbm(self, name: str, place: Point, channel: int, at: Point) -> float:
        """Return the received power of an access point at a place."""
        mean = self.mean_signal_dbm(place.distance_m(at), channel)
        return mean + self.shadowing_db * _field(lambda i, j: self._normal(name, i, j), at)

    def range_m(self, channel: int, least_dbm: float) -> float:
        """Return how far a signal of that strength reaches without shadowing."""
        spare_db = self.mean_signal_dbm(REFERENCE_M, channel) - least_dbm
        return float(REFERENCE_M * 10 ** (spare_db / (10 * self.exponent)))

    def _normal(self, name: str, i: int, j: int) -> float:
        """Return the normal value of a point of the grid (Box and Muller)."""
        digest = hashlib.sha256(f"shadowing:{self.seed}:{name}:{i}:{j}".encode()).digest()
        u, v = (int.from_bytes(digest[at : at + 7], "big") / 2**56 for at in (0, 7))
        return math.sqrt(-2 * math.log(1 - u)) * math.cos(2 * math.pi * v)


def _field(value: Callable[[int, int], float], at: Point) -> float:
    """Return the field at a place: of the four points around it, with a variance of 1."""
    i, j = math.floor(at.x_m / GRID_M), math.floor(at.y_m / GRID_M)
    u, v = at.x_m / GRID_M - i, at.y_m / GRID_M - j
    total, squares = 0.0, 0.0
    for di, wu in ((0, 1 - u), (1, u)):
        for dj, wv in ((0, 1 - v), (1, v)):
            total += wu * wv * value(i + di, j + dj)
            squares += (wu * wv) ** 2
    return total / math.sqrt(squares)
