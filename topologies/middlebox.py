# SPDX-License-Identifier: Apache-2.0
"""A direct path between client and server, and two middleboxes that are not on it.

::

                 m1                        m2
                  | (5 ms)                  | (5 ms)
    client ----- near ------- core ------- far ----- server
          access        (10 ms)
       (20 Mbit/s, 5 ms)

A middlebox is a router that translates what is addressed to it: it gets to see what is sent to its
own address, or what a list of segments leads past it (SRv6), and nothing else. The links between
routers have room for the header that holds the list.
"""

from testbed.topology import Direction, Topology

ACCESS = Direction(rate_bps=20_000_000, one_way_delay_s=0.005, queue_bytes=100_000)
CORE = Direction(rate_bps=100_000_000, one_way_delay_s=0.010, queue_bytes=500_000)
DETOUR = Direction(rate_bps=100_000_000, one_way_delay_s=0.005, queue_bytes=500_000)

# An IPv6 header and a segment routing header of two segments: 80 bytes.
MTU_BYTES = 1580


class Middlebox(Topology):
    """The client's view of a server and of two middleboxes."""

    def build(self) -> None:
        """Add nodes, links and the client's path."""
        client, server = self.add_host("client"), self.add_host("server")
        near, far, m1, m2 = (self.add_router(name) for name in ("near", "far", "m1", "m2"))
        access = self.add_link("access", client, near, a_to_b=ACCESS, b_to_a=ACCESS)
        self.add_link("core", near, far, a_to_b=CORE, b_to_a=CORE, mtu_bytes=MTU_BYTES)
        self.add_link("exit", far, server)
        self.add_link("m1", m1, near, a_to_b=DETOUR, b_to_a=DETOUR, mtu_bytes=MTU_BYTES)
        self.add_link("m2", m2, far, a_to_b=DETOUR, b_to_a=DETOUR, mtu_bytes=MTU_BYTES)
        self.add_path("access", client, access, to=server)


topos = {"middlebox": Middlebox}
