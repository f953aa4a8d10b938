# SPDX-License-Identifier: Apache-2.0
"""What the link tests do inside the lab: python3 guest.py FUNCTION JSON-ARGUMENTS

Two hosts and a router between them; the link under test is the first one, "access".
"""

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.emulation.links import LINKS, NETEM
from testbed.emulation.network import Network
from testbed.netlink.qdisc import LinkChange

PLAIN = {"rate_bps": None, "one_way_delay_s": 0.0, "queue_bytes": None, "loss_fraction": 0.0}
UDP_HEADERS = 28


def network(down=None, up=None):
    """Return a live network: client - access - router - server."""

    def link(name, a, b, number, a_to_b=None, b_to_a=None):
        return {
            "name": name,
            "a": a,
            "b": b,
            "a_interface": f"{a}-{b}",
            "b_interface": f"{b}-{a}",
            "a_address": f"10.0.{number}.2",
            "b_address": f"10.0.{number}.1",
            "prefix_length": 24,
            "a_to_b": {**PLAIN, "trace": None, **(a_to_b or {})},
            "b_to_a": {**PLAIN, "trace": None, **(b_to_a or {})},
        }

    def route(interface, gateway, destination):
        return {
            "destination": destination,
            "prefix_length": 24,
            "interface": interface,
            "gateway": gateway,
        }

    plain = {
        "nodes": [
            {"name": "client", "kind": "host"},
            {"name": "router", "kind": "router"},
            {"name": "server", "kind": "host"},
        ],
        "links": [
            link("access", "client", "router", 1, up, down),
            link("core", "router", "server", 2),
        ],
        "routes": {
            "client": [route("client-router", "10.0.1.1", "10.0.2.0")],
            "router": [],
            "server": [route("server-router", "10.0.2.2", "10.0.1.0")],
        },
    }
    made = Network(plain, {})
    made.build()
    return made


CLIENT, SERVER = "10.0.1.2", "10.0.2.1"


def udp(node, address=("", 0)):
    with node.namespace.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        made.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)  # SO_SNDBUFFORCE
        made.bind(address)
    return made


def round_trip_s(up, down):
    """Return the round-trip time of a small datagram."""
    net = network(down, up)
    server, client = udp(net.nodes["server"], (SERVER, 7)), udp(net.nodes["client"])

    def echo():
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)

    threading.Thread(target=echo, daemon=True).start()
    started = time.monotonic_ns()
    client.sendto(b"x", (SERVER, 7))
    client.recv(100)
    return (time.monotonic_ns() - started) / 1e9


def arrivals(down, count, size, changes=(), start_trace=False, up_direction=False):
    """Return when each of a burst of datagrams arrives, in s since the burst; and counters.

    changes: list of [at_s, {LinkChange fields}].
    """
    times = (down.get("trace") or {}).get("opportunities_ms")
    if isinstance(times, dict):  # too long for a command line
        step = times["every_ms"]
        down["trace"]["opportunities_ms"] = [step * n for n in range(1, times["count"] + 1)]
    net = network(None, down) if up_direction else network(down)
    direction = "a_to_b" if up_direction else "b_to_a"
    sender = net.nodes["client" if up_direction else "server"]
    address = (SERVER if up_direction else CLIENT, 9)
    receiver = udp(net.nodes["server" if up_direction else "client"], address)
    receiver.settimeout(30)
    source = udp(sender)
    started = (time.monotonic_ns() // 1_000_000 + 1) * 1_000_000
    time.sleep((started - time.monotonic_ns()) / 1e9)
    if start_trace:
        net.start_traces(started)
        steps = [[at_s, step._asdict()] for at_s, _, step in net.trace_steps(10)]
        carry_out(net, direction, started, steps[:1])
        changes = [*changes, *steps[1:]]
    for number in range(count):
        source.sendto(number.to_bytes(4, "big") + bytes(size - UDP_HEADERS - 4), address)
    timers = threading.Thread(target=carry_out, args=(net, direction, started, changes))
    timers.start()
    found = []
    while len(found) < count:
        try:
            data = receiver.recv(4096)
        except TimeoutError:
            break
        found.append([int.from_bytes(data[:4], "big"), (time.monotonic_ns() - started) / 1e9])
    timers.join()
    return {"arrivals": found, "counters": net.link_counters()["access"][direction]}


def carry_out(net, direction, started, changes):
    for at_s, change in changes:
        left_s = at_s - (time.monotonic_ns() - started) / 1e9
        if left_s > 0:
            time.sleep(left_s)
        net.change_link("access", direction, LinkChange(**change))


def by_netem(function, *arguments):
    """Call a function of this module as if the kernel had no discipline of ours."""
    os.environ[LINKS] = NETEM
    return globals()[function](*arguments)


def refused_trace(opportunities_ms, period_ms):
    """Return what the kernel says to a trace."""
    from testbed.errors import BackendError
    from testbed.netlink import qdisc

    net = network({"rate_bps": 8_000_000})
    node, index = net.queues["access", "b_to_a"]
    try:
        for options in qdisc.trace_options(opportunities_ms, period_ms, 0):
            node.rtnl.request(qdisc.change_lab_link(index, options), "load the trace")
    except BackendError as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
