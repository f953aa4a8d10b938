# SPDX-License-Identifier: Apache-2.0
"""What the network tests do inside the lab: python3 network_guest.py FUNCTION JSON-ARGUMENTS"""

import json
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.emulation.namespace import read_sysctl
from testbed.emulation.network import Network
from testbed.netlink.qdisc import LinkChange
from testbed.topology import Topology


def chain(routers):
    """Return a host, some routers and a host in a row, by cables."""
    topology = Topology()
    names = [
        topology.add_host("first"),
        *(topology.add_router(f"r{number}") for number in range(routers)),
        topology.add_host("last"),
    ]
    for number, (a, b) in enumerate(zip(names, names[1:], strict=False)):
        topology.add_link(f"l{number}", a, b, a_interface=f"east{number}", b_interface="west")
    return topology


def first_packet_s(routers):
    """Return how long the first packet of a fresh network takes to the far end."""
    topology = chain(routers)
    network = Network(topology.plain(), {})
    network.build()
    with network.nodes["last"].namespace.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("", 7))
    with network.nodes["first"].namespace.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    receiver.settimeout(20)
    started = time.monotonic()
    sender.sendto(b"x", (topology.typed_links[-1].b_address, 7))
    receiver.recv(10)
    return time.monotonic() - started


def cable_cut_and_mended(link, direction):
    """Return which of three packets arrive: before a cable is cut, while it is, and after."""
    topology = chain(2)
    network = Network(topology.plain(), {})
    network.build()
    with network.nodes["last"].namespace.inside():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("", 7))
    with network.nodes["first"].namespace.inside():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.settimeout(1)
    arrived = []
    for is_up in (None, False, True):
        if is_up is not None:
            network.change_link(link, direction, LinkChange(is_up=is_up))
        sender.sendto(b"x", (topology.typed_links[-1].b_address, 7))
        try:
            arrived.append(receiver.recv(10) == b"x")
        except TimeoutError:
            arrived.append(False)
    return [arrived, network.link_counters()[link][direction]["dropped_down"]]


def sysctls_of_nodes(names, wanted):
    """Return the values of some sysctls on every node of a chain of three routers."""
    before = {name: read_sysctl(name) for name in names}
    network = Network(chain(3).plain(), wanted)
    found = {}
    for node in network.nodes.values():
        with node.namespace.inside():
            found[node.name] = {name: read_sysctl(name) for name in names}
    assert before == {name: read_sysctl(name) for name in names}
    return found


def refusals(wanted):
    """Return what is said when a sysctl is refused."""
    from testbed.errors import BackendError

    try:
        Network(chain(1).plain(), wanted)
    except BackendError as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
