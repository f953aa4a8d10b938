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
from testbed.netlink.qdisc import LinkChange, dump_qdiscs, lab_link_stats
from testbed.topology import Direction, Topology


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


def where_queues_are(is_at_sender):
    """Return where each direction of a host's link is queued, and what its own interface has."""
    topology = Topology()
    host, router = topology.add_host("first"), topology.add_router("r0")
    way = Direction(rate_bps=8_000_000, is_at_sender=is_at_sender)
    link = topology.add_link("l0", host, router, a_to_b=way, b_to_a=way)
    network = Network(topology.plain(), {})
    network.build()
    node = network.nodes["first"]
    own = lab_link_stats(node.rtnl.dump(dump_qdiscs()))
    queues = {way: node.name for (_, way), (node, _) in network.queues.items()}
    return [queues, node.indexes[link.a_interface] in own]


def greetings(count):
    """Let many hosts around a router talk at once.

    Return how many hear from another, and how many neighbours the kernel never forgets.
    """
    topology = Topology()
    router = topology.add_router("r0")
    hosts = [topology.add_host(f"h{number}") for number in range(count)]
    for number, host in enumerate(hosts):
        topology.add_link(f"l{number}", host, router)
    network = Network(topology.plain(), {})
    network.build()
    sockets = {}
    for name in hosts:
        with network.nodes[name].namespace.inside():
            sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[name].bind(("", 7))
    addresses = [link.a_address for link in topology.typed_links]
    for number, made in enumerate(sockets.values()):
        made.sendto(b"x", (addresses[number - 1], 7))
    time.sleep(1)
    heard = 0
    for made in sockets.values():
        made.setblocking(False)
        try:
            heard += made.recv(10) == b"x"
        except BlockingIOError:
            continue
    return [heard, int(read_sysctl("net.ipv4.neigh.default.gc_thresh1"))]


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
