# SPDX-License-Identifier: Apache-2.0
"""Leaf and spine: every leaf switch is connected to every spine switch.

::

             s0       s1      ...       spines
             | \\     / |
             |   \\ /   |
             |   / \\   |
            l0       l1       ...       leaves
           /  \\     /  \\
          h0--h1   h2--h3               -- spare ports (GRIN), if any
"""

from testbed.errors import PlanError
from testbed.topology.datacenter import Datacenter


class LeafSpine(Datacenter):
    """Two layers of switches."""

    def build(
        self,
        leaves: int = 4,
        spines: int = 4,
        servers_per_leaf: int = 4,
        rate: str = "100 Mbit/s",
        one_way_delay: str = "20 us",
        queue_packets: int = 100,
        spare_ports: int = 0,
        subflows: int = 1,
        nic_queues: bool = False,
        mark_packets: int = 20,
    ) -> None:
        """Add switches, servers and routes.

        Args:
            leaves, spines: how many switches of each kind.
            servers_per_leaf: with more of them than spines the core is oversubscribed.
            rate, one_way_delay, queue_packets: of every link.
            spare_ports: of each server, wired to neighbours in the rack.
            subflows: of a connection at least; each pair of ports has as many as the others.
            nic_queues: whether a server's port queues what it sends itself, as a NIC does.
            mark_packets: queue beyond which packets are marked, if congestion control needs it.
        """
        for name, count in (("leaves", leaves), ("spines", spines)):
            if count < 1:
                raise PlanError(f"{name} is {count}; it is 1 or more")
        if servers_per_leaf < 1 or leaves * servers_per_leaf < 2:
            raise PlanError("a network has at least two servers; ask for more per leaf")
        self.prepare(
            rate, one_way_delay, queue_packets, spare_ports, subflows, nic_queues, mark_packets
        )
        racks = [
            self.add_rack(f"l{number}", divmod(number, 256), servers_per_leaf)
            for number in range(leaves)
        ]
        above = [self.add_router(f"s{number}") for number in range(spines)]
        for rack in racks:
            links = [self.connect(rack.switch, spine, is_core=True) for spine in above]
            self.route(rack.switch, "0.0.0.0", 0, links)
            for spine, link in zip(above, links, strict=True):
                self.route(spine, rack.network, 24, [link])
        self.finish()


topos = {"leaf_spine": LeafSpine}
