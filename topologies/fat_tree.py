# SPDX-License-Identifier: Apache-2.0
"""A fat tree of k-port switches (Al-Fares et al., SIGCOMM 2008), here with k = 4.

::

                 c0      c1           c2      c3            (k/2)^2 core switches; c0 and c1
                  |...    |...         |...    |...         are at the first aggregation switch
               a0.0    a0.1         a1.0    a1.1    ...     of every pod, c2 and c3 at the second
                 |  \\/  |             |  \\/  |
                 |  /\\  |             |  /\\  |             k pods
               e0.0    e0.1         e1.0    e1.1    ...
               /  \\    /  \\         /  \\    /  \\
              h0--h1  h2--h3       h4--h5  h6--h7   ...     -- spare ports (GRIN), if any

All links have one rate. Switches choose among ways of equal cost by a hash of the ports.
"""

from testbed.errors import PlanError
from testbed.topology import Link
from testbed.topology.datacenter import FIRST_OCTET, Datacenter

# Up to this k all links have 100 Mbit/s; above, a tenth of the packets is what can be emulated.
FAST_K = 6
MAX_K = 34


def default_rate(k: int) -> str:
    """Return the rate of all links of a fat tree unless another is asked for."""
    return "100 Mbit/s" if k <= FAST_K else "10 Mbit/s"


class FatTree(Datacenter):
    """Servers below edge, aggregation and core switches of k ports each."""

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
            k: ports of a switch: k^3 / 4 servers.
            oversubscription: servers per edge switch, in parts of those with full bisection.
            rate, one_way_delay, queue_packets: of every link.
            spare_ports: of each server, wired to neighbours in the rack.
            subflows: of a connection at least; each pair of ports has as many as the others.
            nic_queues: whether a server's port queues what it sends itself, as a NIC does.
            mark_packets: queue beyond which packets are marked, if congestion control needs it.
        """
        check_k(k, 2)
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
            for number in range(half):
                self.add_rack(f"e{pod}.{number}", (pod, number), half * oversubscription)
        add_fabric(self, k)
        self.finish()


def check_k(k: int, divisor: int) -> None:
    """Refuse a number of ports that makes no fat tree.

    Raises:
        PlanError: it does not.
    """
    if k < divisor or k % divisor:
        kind = "an even number" if divisor == 2 else f"a multiple of {divisor}"
        raise PlanError(f"k is {k}; the ports of a fat tree's switch are {kind}, such as 4 or 8")
    if k > MAX_K:
        raise PlanError(f"k is {k}; there are addresses for the links of k = {MAX_K} at most")


def add_fabric(network: Datacenter, k: int) -> None:
    """Add aggregation and core switches above the edge switches, and all routes among them."""
    half = k // 2
    cores = [network.add_router(f"c{number}") for number in range(half * half)]
    for pod in range(k):
        up: dict[int, list[Link]] = {edge: [] for edge in range(half)}
        for number in range(half):
            aggregation = network.add_router(f"a{pod}.{number}")
            for edge in range(half):
                link = network.connect(f"e{pod}.{edge}", aggregation)
                up[edge].append(link)
                network.route(aggregation, f"10.{FIRST_OCTET + pod}.{edge}.0", 24, [link])
            mine = cores[number * half : (number + 1) * half]
            links = [network.connect(aggregation, core, is_core=True) for core in mine]
            network.route(aggregation, "0.0.0.0", 0, links)
            for core, link in zip(mine, links, strict=True):
                network.route(core, f"10.{FIRST_OCTET + pod}.0.0", 16, [link])
        for edge, links in up.items():
            network.route(f"e{pod}.{edge}", "0.0.0.0", 0, links)


topos = {"fat_tree": FatTree}
