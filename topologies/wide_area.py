# SPDX-License-Identifier: Apache-2.0
"""Two datacenters, a wide-area link between them, and a virtual machine that can be in either.

::

     host_a   proxy                        host_b          client
          \\   |            wan                \\   (1 ms)   /
           dc_a ====== (100 Mbit/s, =========== dc_b ----- edge
            |            20 ms RTT)              |           \\
             `------- a ------- vm ------- b ---'             uploader

The machine has the path `a` while it is in datacenter A and the path `b` once it is in B, each with
an address of that datacenter's prefix. Client and uploader are next to B. The hosts send the
machine's memory over the wide-area link; all have it to themselves, for what the client gets is
limited by the link `edge`.
"""

from testbed.topology import Direction, Topology

# The wide-area link has room for the header of a tunnel.
WAN = Direction(rate_bps=100_000_000, one_way_delay_s=0.010, queue_bytes=250_000)
WAN_MTU_BYTES = 1520
EDGE = Direction(rate_bps=20_000_000, one_way_delay_s=0.0005, queue_bytes=50_000)
# Its queue holds what arrives while the machine stands still.
INSIDE = Direction(rate_bps=1_000_000_000, queue_bytes=8_000_000)


class WideArea(Topology):
    """The machine's view of two datacenters."""

    def build(self) -> None:
        """Add nodes, links and the machine's two paths."""
        vm = self.add_host("vm")
        dc_a, dc_b, edge = (self.add_router(name) for name in ("dc_a", "dc_b", "edge"))
        host_a, host_b, proxy = (self.add_host(name) for name in ("host_a", "host_b", "proxy"))
        client, uploader = self.add_host("client"), self.add_host("uploader")
        a = self.add_link("a", vm, dc_a, a_interface="vm-a", a_to_b=INSIDE, b_to_a=INSIDE)
        b = self.add_link("b", vm, dc_b, a_interface="vm-b", a_to_b=INSIDE, b_to_a=INSIDE)
        self.add_link("wan", dc_a, dc_b, a_to_b=WAN, b_to_a=WAN, mtu_bytes=WAN_MTU_BYTES)
        self.add_link("edge", dc_b, edge, a_to_b=EDGE, b_to_a=EDGE)
        for host, router in (
            (host_a, dc_a),
            (host_b, dc_b),
            (proxy, dc_a),
            (client, edge),
            (uploader, edge),
        ):
            self.add_link(host, host, router)
        self.add_path("a", vm, a, to=client)
        self.add_path("b", vm, b, to=client)


topos = {"wide_area": WideArea}
