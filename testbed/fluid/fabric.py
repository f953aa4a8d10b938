# SPDX-License-Identifier: Apache-2.0
"""What the model knows of a datacenter's network: links with capacities, and ways between racks.

Links are directed and numbered; a capacity is in NICs, that is in units of the rate of a server's
port. The rate of a path is limited by its links only: switches do not block.
"""

from abc import ABC, abstractmethod

import numpy as np

from testbed.errors import PlanError
from testbed.fluid.arrays import Floats, Ints, Keys


class Fabric(ABC):
    """Switches, the links between them, and the servers' ports to them.

    Attributes:
        name: as in an experiment file.
        rack: servers x ports; the switch that a port leads to.
        uplink, downlink: servers x ports; link from a port to its switch, and back.
        rack_rate: racks; what the links from a rack to the rest of the network carry together, as
            much as those to it.
    """

    name: str
    rack: Ints
    uplink: Ints
    downlink: Ints
    rack_rate: Floats

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self._kind: list[Ints] = []
        self._capacity: list[Floats] = []
        self._count = 0

    @property
    def servers(self) -> int:
        """How many servers there are."""
        return int(self.rack.shape[0])

    @property
    def capacity(self) -> Floats:
        """What each link carries, in NICs."""
        return np.concatenate(self._capacity)

    @property
    def kind(self) -> Ints:
        """Index into `kinds` for each link."""
        return np.concatenate(self._kind)

    def add_links(self, kind: str, shape: tuple[int, ...], capacity: float = 1.0) -> Ints:
        """Add links of a kind; return their numbers in an array of that shape."""
        count = int(np.prod(shape))
        numbers = np.arange(self._count, self._count + count).reshape(shape)
        self._kind.append(np.full(count, len(self.kinds)))
        self._capacity.append(np.full(count, capacity))
        self.kinds.append(kind)
        self._count += count
        return numbers

    def add_servers(self, rack: Ints) -> None:
        """Add servers whose ports lead to these racks (servers x ports)."""
        self.rack = rack
        self.uplink = self.add_links("server-up", rack.shape)
        self.downlink = self.add_links("server-down", rack.shape)

    @abstractmethod
    def between_racks(self, start: Ints, end: Ints, keys: Keys) -> Ints:
        """Return the links that subflows with these keys cross from rack to rack.

        Args:
            start, end: racks; where they are the same, no link is crossed.

        Returns:
            subflows x hops, NONE where a way has fewer hops.
        """


def check_whole(topology: str, name: str, value: int, least: int) -> None:
    """Refuse a parameter that is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PlanError(f"{topology}: {name} is {value!r}; give a whole number of at least {least}")


def check_even(topology: str, name: str, value: int) -> None:
    """Refuse an odd number."""
    if value % 2:
        raise PlanError(f"{topology}: {name} is {value}; give an even number")
