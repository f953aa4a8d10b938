# SPDX-License-Identifier: Apache-2.0
"""A laptop on the underground: WiFi in the stations, 3G everywhere, a proxy in the network.

::

                    wifi          ap ----
      wlan0 .---- (8 Mbit/s) ----/       \\
    laptop                                core ---- proxy ---- origin
      cell0 '---- (2 Mbit/s) ----\\       /
                     3g           bs ----

The two access links are shaped; everything behind them is fast and must not be a bottleneck.
"""

from testbed.topology import Direction, Topology

# Raiciu et al., NSDI 2012, section 4.2: WiFi 8 Mbit/s, 20 ms and 80 ms of buffer; 3G 2 Mbit/s,
# 150 ms and 2 s of buffer.
WIFI = Direction(rate_bps=8_000_000, one_way_delay_s=0.010, queue_bytes=80_000)
CELL = Direction(rate_bps=2_000_000, one_way_delay_s=0.075, queue_bytes=500_000)


class Underground(Topology):
    """The laptop's view of the Bucharest underground."""

    def build(
        self,
        wifi_up: Direction = WIFI,
        wifi_down: Direction = WIFI,
        cell_up: Direction = CELL,
        cell_down: Direction = CELL,
    ) -> None:
        """Add nodes, links and the laptop's two paths.

        Args:
            wifi_up, wifi_down: the WiFi link from and to the laptop.
            cell_up, cell_down: the 3G link from and to the laptop.
        """
        laptop = self.add_host("laptop")
        access_point, base_station = self.add_router("ap"), self.add_router("bs")
        core = self.add_router("core")
        proxy, origin = self.add_host("proxy"), self.add_host("origin")
        wifi = self.add_link(
            "wifi", laptop, access_point, a_interface="wlan0", a_to_b=wifi_up, b_to_a=wifi_down
        )
        cell = self.add_link(
            "3g", laptop, base_station, a_interface="cell0", a_to_b=cell_up, b_to_a=cell_down
        )
        self.add_link("ap-core", access_point, core)
        self.add_link("bs-core", base_station, core)
        self.add_link("core-proxy", core, proxy)
        self.add_link("proxy-origin", proxy, origin)
        self.add_path("wifi", laptop, wifi, to=proxy)
        self.add_path("3g", laptop, cell, to=proxy)


topos = {"underground": Underground}
