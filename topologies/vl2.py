# SPDX-License-Identifier: Apache-2.0
"""VL2 (Greenberg et al., SIGCOMM 2009): links between switches are faster than the servers'.

::

              i0        i1                 intermediate switches, each at every aggregation switch
              |  \\ ... /  |
         a0      a1      a2      a3        aggregation switches
          \\     /          \\    /
            t0                t1    ...    each top-of-rack switch is at two of them
          / |  | \\
        h0--h1 h2--h3                      -- spare ports (GRIN), if any
"""

from testbed.errors import PlanError
from testbed.topology.datacenter import Datacenter


class Vl2(Datacenter):
    """Three layers of switches, with a fabric of faster links."""

    def build(
        self,
        ports: int = 4,
        servers_per_rack: int = 4,
        fabric_speedup: int = 2,
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
            ports: of aggregation and intermediate switches: ports^2 / 4 racks.
            servers_per_rack: with 2 x fabric_speedup of them there is full bisection.
            fabric_speedup: of the links between switches; 10 in the paper.
            rate, one_way_delay, queue_packets: of a server's link.
            spare_ports: of each server, wired to neighbours in the rack.
            subflows: of a connection at least; each pair of ports has as many as the others.
            nic_queues: whether a server's port queues what it sends itself, as a NIC does.
            mark_packets: queue beyond which packets are marked, if congestion control needs it.
        """
        if ports < 2 or ports % 2:
            raise PlanError(f"ports is {ports}; a VL2 switch has an even number of them")
        for name, count in (
            ("servers_per_rack", servers_per_rack),
            ("fabric_speedup", fabric_speedup),
        ):
            if count < 1:
                raise PlanError(f"{name} is {count}; it is 1 or more")
        self.prepare(
            rate, one_way_delay, queue_packets, spare_ports, subflows, nic_queues, mark_packets
        )
        racks = [
            self.add_rack(f"t{number}", divmod(number, 256), servers_per_rack)
            for number in range(ports * ports // 4)
        ]
        aggregations = [self.add_router(f"a{number}") for number in range(ports)]
        intermediates = [self.add_router(f"i{number}") for number in range(ports // 2)]
        for number, rack in enumerate(racks):
            above = [aggregations[(2 * number + side) % ports] for side in range(2)]
            links = [self.connect(rack.switch, switch, fabric_speedup) for switch in above]
            self.route(rack.switch, "0.0.0.0", 0, links)
            for switch, link in zip(above, links, strict=True):
                self.route(switch, rack.network, 24, [link])
        core = {
            (a, i): self.connect(a, i, fabric_speedup, is_core=True)
            for a in aggregations
            for i in intermediates
        }
        for a in aggregations:
            self.route(a, "0.0.0.0", 0, [core[a, i] for i in intermediates])
        for i in intermediates:
            for number, rack in enumerate(racks):
                above = [aggregations[(2 * number + side) % ports] for side in range(2)]
                self.route(i, rack.network, 24, [core[a, i] for a in above])
        self.finish()


topos = {"vl2": Vl2}
