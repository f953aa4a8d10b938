# SPDX-License-Identifier: Apache-2.0
"""A fat tree whose servers have ports at two edge switches (Raiciu et al., SIGCOMM 2011).

::

               a0.0    a0.1            aggregation and core as in a fat tree; k = 4
                 |  \\/  |
               e0.0    e0.1            two edge switches share their servers
                 | \\  / |
                 |  \\/  |
                h0      h1             k/2 servers with two ports each

Two ports per server and as many switches as in a fat tree, so half as many servers.
"""

from testbed.errors import PlanError
from testbed.topology.datacenter import Datacenter
from topologies.fat_tree import add_fabric, check_k, default_rate


class DualHomedFatTree(Datacenter):
    """Servers with two ports, each at an edge switch of its own."""

    def build(
        self,
        k: int = 4,
        oversubscription: int = 1,
        rate: str | None = None,
        one_way_delay: str = "20 us",
        queue_packets: int = 100,
        spare_ports: int = 0,
        subflows: int = 1,
        nic_queues: bool = False,
        mark_packets: int = 20,
    ) -> None:
        """Add switches, servers and routes.

        Args:
            k: ports of a switch; a multiple of 4.
            oversubscription: servers per pair of edge switches, in parts of k / 2.
            rate, one_way_delay, queue_packets: of every link.
            spare_ports: of each server, wired to neighbours at the same switches.
            subflows: of a connection at least; each pair of ports has as many as the others.
            nic_queues: whether a server's port queues what it sends itself, as a NIC does.
            mark_packets: queue beyond which packets are marked, if congestion control needs it.
        """
        check_k(k, 4)
        if oversubscription < 1:
            raise PlanError(f"oversubscription is {oversubscription}; it is 1 or more")
        self.prepare(
            rate or default_rate(k),
            one_way_delay,
            queue_packets,
            spare_ports,
            subflows,
            nic_queues,
            mark_packets,
        )
        half = k // 2
        for pod in range(k):
            racks = [self.add_empty_rack(f"e{pod}.{n}", (pod, n)) for n in range(half)]
            for one, other in zip(racks[::2], racks[1::2], strict=True):
                count = half * oversubscription
                # Every second server has its first port at the second switch.
                servers = [
                    self.add_server(*((other, one) if number % 2 else (one, other)))
                    for number in range(count)
                ]
                self.wire_spare_ports(servers)
        add_fabric(self, k)
        self.finish()


topos = {"dual_homed_fat_tree": DualHomedFatTree}
