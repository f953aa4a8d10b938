# SPDX-License-Identifier: Apache-2.0
"""The best that flows between servers could get: max-min fair rates with pooled ports.

The core and the cables between neighbours are taken to carry everything, so that only ports count
(`analysis/optimum.py` counts the cables too). A flow may use several uplinks and
several downlinks, in any shares. A set of flows then fits if and only if the sum of its rates is at
most the capacity of all uplinks that one of them may use, and so for downlinks (Hall; the split
over pairs of ports is a transportation problem, which always has a solution). Rates are raised
together; where a set is tight, its flows stop (progressive filling: Bertsekas and Gallager, Data
Networks, section 6.5.2). That is exact. Rates are in NICs, the capacity of one port.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

EPSILON = 1e-9
Port = Hashable


@dataclass(frozen=True)
class Demand:
    """A flow: the ports it may leave by, and those it may arrive by."""

    up: frozenset[Port]
    down: frozenset[Port]


def analytic_pairs(active_fraction: float) -> float:
    """Return the expected best rate with one spare port per server, in a large network.

    A server has its own uplink, and its neighbour's if that does not send, which has the
    probability 1 - f; and so at the receiver. Both are needed: 1 + (1 - f)^2.
    """
    return 1 + (1 - active_fraction) ** 2


def max_min(flows: Sequence[Demand], capacity: Mapping[Port, float] | None = None) -> list[float]:
    """Return the max-min fair rate of each flow.

    Args:
        flows: what each may use.
        capacity: of ports whose capacity is not 1.
    """
    sides = [_Side([flow.up for flow in flows], capacity or {}),
             _Side([flow.down for flow in flows], capacity or {})]  # fmt: skip
    rates = [0.0] * len(flows)
    live = set(range(len(flows)))
    while live:
        rates = _raise_together(sides, rates, live)
        # What cannot be raised on one side cannot be raised.
        live -= {flow for side in sides for flow in side.stuck(rates)}
    return rates


def _raise_together(sides: "Sequence[_Side]", rates: list[float], live: set[int]) -> list[float]:
    """Return the rates with those of live flows at the highest level that all sides carry."""
    level = min(side.capacity_of(side.ports[flow]) for side in sides for flow in live)
    while True:
        asked = [level if flow in live else rate for flow, rate in enumerate(rates)]
        cuts = [(side, side.overfull(asked)) for side in sides]
        # Newton's method: each set that does not fit says which level would fit for it.
        levels = [_level_of(side, cut, asked, live) for side, cut in cuts if cut]
        if not levels or min(levels) >= level:
            return asked
        level = min(levels)


def _level_of(side: "_Side", cut: set[int], asked: Sequence[float], live: set[int]) -> float:
    ports = {port for flow in cut for port in side.ports[flow]}
    fixed = sum(asked[flow] for flow in cut - live)
    return (side.capacity_of(ports) - fixed) / len(cut & live)


class _Side:
    """Uplinks or downlinks, and the flows that want to use them."""

    def __init__(self, ports: Sequence[frozenset[Port]], capacity: Mapping[Port, float]) -> None:
        self.ports = [sorted(mine, key=str) for mine in ports]
        self._capacity = capacity

    def capacity_of(self, ports: Iterable[Port]) -> float:
        """Return the capacity of ports together."""
        return sum(self._capacity.get(port, 1.0) for port in ports)

    def overfull(self, rates: Sequence[float]) -> set[int]:
        """Return flows that do not fit together; none if all fit."""
        loads = _Loads(self)
        for flow, rate in enumerate(rates):
            if crowd := loads.put(flow, rate):
                return crowd
        return set()

    def stuck(self, rates: Sequence[float]) -> set[int]:
        """Return the flows that could not grow, however the others shifted their shares."""
        loads = _Loads(self)
        for flow, rate in enumerate(rates):
            loads.put(flow, rate)
        return {flow for flow in range(len(rates)) if loads.search(flow).end is None}


@dataclass
class _Search:
    """What can be reached from a flow by shifting shares.

    Attributes:
        mover: of each port reached, the flow that would move onto it.
        left: of each flow reached but the first, the port that it would leave.
        end: a port with room, if one was reached.
    """

    mover: dict[Port, int]
    left: dict[int, Port]
    end: Port | None = None


class _Loads:
    """Which share of each flow is on which port, found by augmenting ways."""

    def __init__(self, side: _Side) -> None:
        self._side = side
        self._shares: dict[Port, dict[int, float]] = {}
        self._room: dict[Port, float] = {}

    def put(self, flow: int, rate: float) -> set[int]:
        """Put a flow's rate on its ports; return the flows that leave no room for it, with it."""
        while rate > EPSILON:
            found = self.search(flow)
            if found.end is None:
                return {flow, *found.left}
            rate -= self._shift(found, found.end, rate)
        return set()

    def search(self, flow: int) -> _Search:
        """Look, breadth first, for a port with room."""
        found = _Search({}, {})
        waiting = [flow]
        for user in waiting:
            for port in self._side.ports[user]:
                if port in found.mover:
                    continue
                found.mover[port] = user
                if self._room_of(port) > EPSILON:
                    found.end = port
                    return found
                for other, share in self._shares[port].items():
                    if share > EPSILON and other != flow and other not in found.left:
                        found.left[other] = port
                        waiting.append(other)
        return found

    def _room_of(self, port: Port) -> float:
        if port not in self._room:
            self._room[port] = self._side.capacity_of([port])
            self._shares[port] = {}
        return self._room[port]

    def _shift(self, found: _Search, end: Port, wanted: float) -> float:
        """Move as much as all steps of the way allow; return how much."""
        steps = [(found.mover[end], end)]
        while steps[-1][0] in found.left:
            port = found.left[steps[-1][0]]
            steps.append((found.mover[port], port))
        leaving = [self._shares[found.left[user]][user] for user, _ in steps[:-1]]
        size = min([wanted, self._room[end], *leaving])
        self._room[end] -= size
        for user, port in steps:
            self._shares[port][user] = self._shares[port].get(user, 0.0) + size
            if user in found.left:
                self._shares[found.left[user]][user] -= size
        return size
