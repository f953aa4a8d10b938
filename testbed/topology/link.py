# SPDX-License-Identifier: Apache-2.0
"""What a topology says of a link."""

from dataclasses import dataclass, field
from typing import Any

PREFIX_LENGTH = 24


@dataclass(frozen=True)
class Direction:
    """One direction of a link.

    Attributes:
        rate_bps: bit/s of IP packets; None takes no time.
        one_way_delay_s: propagation delay, after the bottleneck queue.
        queue_bytes: limit of that queue; None is as good as none.
        loss_fraction: independent loss of packets.
        is_at_sender: whether a host's own interface queues too, as its NIC does; by default the
            queue is behind the far end, so that TCP does not know of it.
        trace: {"file", "offset_s", "opportunities_ms", "period_ms"} instead of a rate.
    """

    rate_bps: int | None = None
    one_way_delay_s: float = 0.0
    queue_bytes: int | None = None
    loss_fraction: float = 0.0
    trace: dict[str, Any] | None = None
    is_at_sender: bool = False


@dataclass(frozen=True)
class Link:
    """A link between the nodes a and b; the first is the one nearer to the client."""

    name: str
    a: str
    b: str
    a_interface: str
    b_interface: str
    a_address: str
    b_address: str
    a_to_b: Direction = field(default_factory=Direction)
    b_to_a: Direction = field(default_factory=Direction)
    prefix_length: int = PREFIX_LENGTH

    def other(self, node: str) -> str:
        """Return the node at the other end."""
        return self.b if node == self.a else self.a

    def direction_from(self, node: str) -> str:
        """Return which direction leads away from a node."""
        return "a_to_b" if node == self.a else "b_to_a"
