# SPDX-License-Identifier: Apache-2.0
"""A network some of whose links are radio.

A link between a NIC of the station and an access point has an address at either end, as if it
were a cable; but all links of a NIC are one interface, and so are all of an access point. The
interface names of the plan are kept as names of that interface.
"""

import socket
from typing import Any

from testbed.emulation.network import Network
from testbed.emulation.node import Node
from testbed.emulation.wireless.air import Air, Pair
from testbed.emulation.wireless.radios import (
    IFTYPE_AP,
    IFTYPE_STATION,
    Radio,
    check_number,
    mac_of,
    make_interfaces,
    make_radio,
)
from testbed.errors import BackendError
from testbed.netlink import qdisc, route
from testbed.netlink.hwsim import Simulator
from testbed.netlink.nl80211 import Wireless


class WirelessNetwork(Network):
    """The live network of a run with radios.

    Args:
        plain, sysctls: see Network.
        radio: "radio" of run.json.
    """

    def __init__(
        self, plain: dict[str, Any], sysctls: dict[str, dict[str, Any]], radio: dict[str, Any]
    ) -> None:
        check_number(len(radio["aps"]) + len(radio["station"]["nics"]))
        super().__init__(plain, sysctls)
        self.radio = radio
        self.station = self.nodes[radio["station"]["node"]]
        self.radios: dict[str, Radio] = {}
        self._of_link = {one["link"]: one for one in radio["links"]}

    def _cables(self) -> list[dict[str, Any]]:
        return [link for link in self.links.values() if link["name"] not in self._of_link]

    def _connect(self) -> None:
        super()._connect()
        self.simulator = Simulator()
        wireless = Wireless()
        for ap in self.radio["aps"]:
            node = self.nodes[ap["name"]]
            self.radios[node.name] = make_radio(self.simulator, wireless, node.name, node.namespace)
            make_interfaces(
                self.radios[node.name], node.namespace, [self.ap_interface(ap["name"])], IFTYPE_AP
            )
        for nic in self.radio["station"]["nics"]:
            names = self.nic_interfaces(nic)
            self.radios[nic] = make_radio(
                self.simulator, wireless, nic, self.station.namespace, len(names)
            )
            make_interfaces(self.radios[nic], self.station.namespace, names, IFTYPE_STATION)
        wireless.close()
        for link in self._of_link.values():
            self._name(link)
        self.air = Air(self.simulator, [self._pair(one) for one in self._of_link.values()])

    def ap_interface(self, ap: str) -> str:
        """Return the name of an access point's interface."""
        return f"{ap}-air"

    def nic_interfaces(self, nic: str) -> list[str]:
        """Return the interfaces of a NIC: one, or one for each link if it has several at once."""
        slots = self.radio["slots"]
        if slots and slots["nic"] == nic:
            return [one["link"] for one in self.radio["links"] if one["nic"] == nic]
        return [nic]

    def nic_interface(self, link: str) -> str:
        """Return the interface of the NIC by which a link goes."""
        nic = str(self._of_link[link]["nic"])
        names = self.nic_interfaces(nic)
        return link if link in names else names[0]

    def _name(self, one: dict[str, Any]) -> None:
        """Let the names of a link's ends mean the interfaces that they are."""
        link = self.links[one["link"]]
        for side in "ab":
            node = self.nodes[link[side]]
            is_station = node is self.station
            name = self.nic_interface(one["link"]) if is_station else self.ap_interface(one["ap"])
            index = _index(node, name)
            node.indexes[name] = node.indexes[link[f"{side}_interface"]] = index
            node.rtnl.add(route.one_segment(index), f"bring up {name}")

    def _pair(self, one: dict[str, Any]) -> Pair:
        link = self.links[one["link"]]
        up = "a_to_b" if link["a"] == self.station.name else "b_to_a"
        down = "b_to_a" if up == "a_to_b" else "a_to_b"
        return Pair(
            one["link"],
            self.radios[one["nic"]],
            self.radios[one["ap"]],
            link[up]["queue_bytes"],
            link[down]["queue_bytes"],
            one["samples"],
            int(self.radio["seed"]),
        )

    def know_neighbours(self, addresses: dict[str, list[str]]) -> None:
        """Tell the ends of every radio link who the other one is, so that nobody need ask.

        Args:
            addresses: that the station may have, by path.
        """
        for one in self._of_link.values():
            link = self.links[one["link"]]
            station, ap = ("a", "b") if link["a"] == self.station.name else ("b", "a")
            names = self.nic_interfaces(one["nic"])
            place = names.index(self.nic_interface(one["link"]))
            nic_mac, ap_mac = mac_of(self.radios[one["nic"]], place), mac_of(self.radios[one["ap"]])
            self._know(link[station], link[f"{station}_interface"], link[f"{ap}_address"], ap_mac)
            for address in addresses[one["path"]]:
                self._know(link[ap], link[f"{ap}_interface"], address, nic_mac)

    def _know(self, name: str, interface: str, address: str, mac: bytes) -> None:
        node = self.nodes[name]
        request = route.new_neighbour(node.indexes[interface], address, mac)
        node.rtnl.request(request, f"let {name} know {address}")

    def change_link(self, name: str, direction: str, change: qdisc.LinkChange) -> None:
        """Change one direction of a cable in place, now."""
        if name in self._of_link:
            raise BackendError(f"the link {name} is radio: it follows the samples of the plan")
        super().change_link(name, direction, change)

    def capture_place(self, node: str, interface: str) -> tuple[str, str]:
        """Return the interface that a link's end is part of, and what the link's packets are.

        All links of a NIC are one interface; an address tells them apart.
        """
        for one in self._of_link.values():
            link = self.links[one["link"]]
            if node == self.station.name and interface in (
                link["a_interface"],
                link["b_interface"],
            ):
                path = next(p for p in self.plain["paths"] if p["name"] == one["path"])
                hosts = " or ".join(f"host {address}" for address in path["addresses"])
                return self.nic_interface(one["link"]), hosts
        return interface, ""

    def link_counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the counters of every shaped direction of every cable, and of every radio link."""
        counters = super().link_counters()
        for name, ways in self.air.counters().items():
            is_a = self.links[name]["a"] == self.station.name
            up, down = ("a_to_b", "b_to_a") if is_a else ("b_to_a", "a_to_b")
            counters[name] = {up: ways["up"], down: ways["down"]}
        return counters


def _index(node: Node, interface: str) -> int:
    with node.namespace.inside():
        return socket.if_nametoindex(interface)
