# SPDX-License-Identifier: Apache-2.0
"""What the radio tests do inside the lab: python3 radio_guest.py FUNCTION JSON-ARGUMENTS

A station with one NIC, two access points, and a server behind them.
"""

import json
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.emulation.mptcp import MultipathClient
from testbed.emulation.wireless.network import WirelessNetwork
from testbed.emulation.wireless.station import Station
from testbed.timetable import Timetable, new_timer, set_timer
from testbed.topology import Direction, Topology

QUEUE_BYTES = 384_000
FREQUENCIES_MHZ = {1: 2412, 6: 2437, 36: 5180}
NUMBERS = {"scan_s": 1.0, "association_s": 0.1, "dhcp_s": 0.3, "drain_s": 0.0, "join_s": 0.06}
PACKET_BYTES, HEADERS = 1000, 28


def street(channels):
    """Return a station with one NIC, an access point per channel, and a server."""
    topology = Topology()
    station, core = topology.add_host("station"), topology.add_router("core")
    aps = [topology.add_router(f"ap{number}") for number, _ in enumerate(channels, 1)]
    server = topology.add_host("server")
    radio = Direction(rate_bps=8_000_000, queue_bytes=QUEUE_BYTES)
    links = [
        topology.add_link(
            f"w1-{ap}", station, ap, a_interface=f"w1-{ap}", b_interface=f"{ap}-w1",
            a_to_b=radio, b_to_a=radio,
        )
        for ap in aps
    ]  # fmt: skip
    for ap in aps:
        topology.add_link(f"{ap}-core", ap, core)
    topology.add_link("wire", core, server)
    for link in links:
        topology.add_path(link.name, station, link, to=server)
    return topology.plain()


def radio_plan(channels, samples, policy="single-ap", associations=(), slots=None):
    """Return "radio" of run.json; samples of each access point: [t_s, dBm, bit/s, loss]."""
    names = [f"ap{number}" for number, _ in enumerate(channels, 1)]
    first = [{"at_s": 0.0, "nic": "w1", "ap": "ap1", "is_on": True, "why": "start"}]
    return {
        "level": "mac80211", "policy": policy, "seed": 1, "policy_numbers": NUMBERS,
        "aps": [
            {"name": name, "ssid": name, "channel": channel,
             "frequency_mhz": FREQUENCIES_MHZ[channel]}
            for name, channel in zip(names, channels, strict=True)
        ],
        "station": {"node": "station", "nics": ["w1"]},
        "links": [
            {"nic": "w1", "ap": name, "link": f"w1-{name}", "path": f"w1-{name}",
             "samples": of_ap}
            for name, of_ap in zip(names, samples, strict=True)
        ],
        "associations": [*first, *associations], "scans": [], "slots": slots,
    }  # fmt: skip


class Scene:
    """A live station; use `until` to let time pass."""

    def __init__(self, stack, plain, radio):
        self.raw = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.network = WirelessNetwork(plain, {}, radio)
        self.network.build()
        self.client = MultipathClient(self.network, plain["paths"], {})
        self.client.set_up()
        self.station = Station(self.network, self.raw)
        self.station.start(stack)
        self.client.keep_only(self.station.paths_at_start())
        self.changes = []
        self.timetable = Timetable()
        self.start_ns = (time.monotonic_ns() // 10**9 + 1) * 10**9
        self.station.enter(self.timetable, self.start_ns, self.client, self._change)
        self._timer = new_timer()

    def _change(self, change):
        self.changes.append([self.t_s(), change["change"], change["path"]])
        if change["change"] == "address_gone":
            self.client.address_gone(change["path"])
        else:
            self.client.address_back(change["path"], change["address"])

    def t_s(self):
        return (time.monotonic_ns() - self.start_ns) / 1e9

    def until(self, t_s):
        import select

        end_ns = self.start_ns + round(t_s * 1e9)
        nics = {nic.fileno(): nic for nic in self.station.listeners}
        while time.monotonic_ns() < end_ns:
            self.timetable.call_due(time.monotonic_ns())
            set_timer(self._timer, min(self.timetable.next_ns() or end_ns, end_ns))
            for descriptor in select.select([self._timer, *nics], [], [])[0]:
                if descriptor in nics:
                    nics[descriptor].take()

    def log(self):
        return [json.loads(line) for line in (self.raw / "radio.jsonl").read_text().splitlines()]


def udp(node, address):
    with node.namespace.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        made.bind(address)
    return made


def loss_of_an_access_point(channels):
    """Let the first access point fall silent at 2 s; return what the station did, and when."""
    out_of_range = [[0.0, -50.0, 8_000_000, 0.0], [2.0, -99.0, 0, 0.0]]
    samples = [out_of_range, [[0.0, -70.0, 8_000_000, 0.0]]]
    with ExitStack() as stack:
        scene = Scene(stack, street(channels), radio_plan(channels, samples))
        scene.until(12.0)
        hostapd = (scene.raw / "ap2.hostapd.txt").read_text()
        return {
            "changes": scene.changes,
            "log": scene.log(),
            "is_known_to_ap2": "AP-STA-CONNECTED" in hostapd,
        }


def received(channels, seconds, slots=None, associations=(), aps=1):
    """Send datagrams to the station's address on each path, for some time, as fast as it goes.

    Returns:
        Goodput of IP in Mbit/s of each path, and the counters of the air.
    """
    samples = [[[0.0, -50.0, 8_000_000, 0.0]]] * len(channels)
    policy = "one-nic" if slots else "single-ap"
    with ExitStack() as stack:
        plain = street(channels)
        radio = radio_plan(channels, samples, policy, associations, slots)
        scene = Scene(stack, plain, radio)
        paths = plain["paths"][:aps]
        receivers = [udp(scene.network.station, (path["address"], 9)) for path in paths]
        sender = udp(scene.network.nodes["server"], ("", 0))
        data, sent = bytes(PACKET_BYTES - HEADERS), [0] * len(paths)

        def send(number, at_ns):
            sender.sendto(data, (paths[number]["address"], 9))
            sent[number] += 1
            next_ns = at_ns + 950_000 * aps  # a little more than the air carries
            if next_ns < scene.start_ns + seconds * 10**9:
                scene.timetable.at(next_ns, lambda: send(number, next_ns))

        for number in range(len(paths)):
            scene.timetable.at(scene.start_ns, lambda n=number: send(n, scene.start_ns))
        scene.until(seconds)
        counters = scene.network.link_counters()
        arrived = [count(one) for one in receivers]
        return {
            "mbps": [packets * PACKET_BYTES * 8 / seconds / 1e6 for packets in arrived],
            "sent": sent,
            "down": [counters[path["name"]]["b_to_a"] for path in paths],
        }


def count(receiver):
    receiver.setblocking(False)
    found = 0
    try:
        while receiver.recv(2000):
            found += 1
    except BlockingIOError:
        return found


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
