# SPDX-License-Identifier: Apache-2.0
"""The rule by which a client changes its access point: it counts beacons for a while.

Croitoru et al., "Towards WiFi mobility without fast handover" (NSDI 2015): the beacons of 2 s, and
another access point is better if it has some more.
"""

import hashlib
import math
from collections.abc import Callable

BEACON_S = 0.1024  # 100 time units, the usual interval
FADING_DB = 4.0  # standard deviation from beacon to beacon, people and hands in the way


class Beacons:
    """Which beacons of an access point are heard.

    Args:
        name: of the access point.
        seed: of the fading.
        signal_dbm: its signal at a time, -inf while it is off.
        least_dbm: that can be decoded.
    """

    def __init__(
        self, name: str, seed: int, signal_dbm: Callable[[float], float], least_dbm: float
    ) -> None:
        self._name, self._seed = name, seed
        self._signal_dbm, self._least_dbm = signal_dbm, least_dbm
        self._heard: dict[int, bool] = {}

    def count(self, until_s: float, window_s: float) -> int:
        """Return how many were heard in the window that ends at a time."""
        first = max(0, math.ceil((until_s - window_s) / BEACON_S))
        last = math.floor(until_s / BEACON_S)
        return sum(self._is_heard(number) for number in range(first, last + 1))

    def _is_heard(self, number: int) -> bool:
        if number not in self._heard:
            signal = self._signal_dbm(number * BEACON_S)
            chance = 0.5 * math.erfc((self._least_dbm - signal) / (FADING_DB * math.sqrt(2)))
            self._heard[number] = self._draw(number) < chance
        return self._heard[number]

    def _draw(self, number: int) -> float:
        digest = hashlib.sha256(f"beacon:{self._seed}:{self._name}:{number}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56
