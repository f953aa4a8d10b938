# SPDX-License-Identifier: Apache-2.0
"""Access points in a street, each with a network of its own, and a station with one or two NICs.

::

              w1-ap1      ap1 ---- ap1-core ----.
    station ============  ap2 ---- ap2-core ----- core ---- wire ---- server
              w2-ap1      ...                   /      (10 ms one way)
              w2-ap2      apN ---- apN-core ---'

Each pair of a NIC and an access point is a link and a path of the same name, such as `w1-ap2`: what
the radio carries at each time is the plan's. All propagation delay is in the wire, so that what
waits at an access point while the NIC is elsewhere waits in the queue of its link.
"""

from testbed.errors import PlanError
from testbed.topology import Direction, Topology

# What the radio model and the section "wifi" put in its place before the run begins.
RADIO = Direction(rate_bps=20_000_000, queue_bytes=192_000)
WIRE = Direction(one_way_delay_s=0.010)
MAX_APS, MAX_NICS = 6, 2


class WifiStreet(Topology):
    """The station's view of a street."""

    def build(self, aps: int = 2, nics: int = 1) -> None:
        """Add nodes, links and a path per NIC and access point.

        Args:
            aps: number of access points.
            nics: of the station.
        """
        for name, count, most in (("aps", aps, MAX_APS), ("nics", nics, MAX_NICS)):
            if not 1 <= count <= most:
                raise PlanError(f"{name} is {count}; there are 1 to {most} of them")
        station, core = self.add_host("station"), self.add_router("core")
        names = [self.add_router(f"ap{number}") for number in range(1, aps + 1)]
        server = self.add_host("server")
        pairs = [(f"w{nic}", ap) for nic in range(1, nics + 1) for ap in names]
        links = [
            self.add_link(
                f"{nic}-{ap}",
                station,
                ap,
                a_interface=f"{nic}-{ap}",
                b_interface=f"{ap}-{nic}",
                a_to_b=RADIO,
                b_to_a=RADIO,
            )
            for nic, ap in pairs
        ]
        for ap in names:
            self.add_link(f"{ap}-core", ap, core)
        self.add_link("wire", core, server, a_to_b=WIRE, b_to_a=WIRE)
        for link in links:
            self.add_path(link.name, station, link, to=server)


topos = {"wifi_street": WifiStreet}
