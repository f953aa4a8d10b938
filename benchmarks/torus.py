# SPDX-License-Identifier: Apache-2.0
"""A network that is large for an emulation on one machine: 200 nodes, 300 shaped links."""

from testbed.topology import Direction, Topology

SHAPE = Direction(rate_bps=10_000_000, one_way_delay_s=0.005, queue_bytes=60_000)


class Torus(Topology):
    """Routers in a square whose edges are joined, and a host at every router."""

    def build(self, side: int = 10) -> None:
        """Add side x side routers and as many hosts."""
        places = [(x, y) for x in range(side) for y in range(side)]
        for x, y in places:
            self.add_router(f"r{x}.{y}")
            self.add_host(f"h{x}.{y}")
        for x, y in places:
            here, east, south = f"r{x}.{y}", f"r{(x + 1) % side}.{y}", f"r{x}.{(y + 1) % side}"
            for name, a, b in (
                (f"host{x}.{y}", f"h{x}.{y}", here),
                (f"east{x}.{y}", here, east),
                (f"south{x}.{y}", here, south),
            ):
                self.add_link(name, a, b, a_to_b=SHAPE, b_to_a=SHAPE)


topos = {"torus": Torus}
