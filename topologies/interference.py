# SPDX-License-Identifier: Apache-2.0
"""Two paths to a server: a middlebox is on one of them, nothing on the other.

::

                 middlebox            (cable)
            .--------------- m ---------------.
     client                                    server
            '--------------- r ---------------'
                  direct              (cable)

Both links of the client have 8 Mbit/s, 10 ms each way and 256 KB of queue.
"""

from testbed.topology import Direction, Topology

ACCESS = Direction(rate_bps=8_000_000, one_way_delay_s=0.010, queue_bytes=256_000)


class Interference(Topology):
    """A client with a path through the middlebox m and one past it."""

    def build(self) -> None:
        """Add nodes, links and the client's paths."""
        client, server = self.add_host("client"), self.add_host("server")
        m, r = self.add_router("m"), self.add_router("r")
        through = self.add_link("middlebox", client, m, a_to_b=ACCESS, b_to_a=ACCESS)
        past = self.add_link("direct", client, r, a_to_b=ACCESS, b_to_a=ACCESS)
        self.add_link("m_server", m, server)
        self.add_link("r_server", r, server)
        self.add_path("middlebox", client, through, to=server)
        self.add_path("direct", client, past, to=server)


topos = {"interference": Interference}
