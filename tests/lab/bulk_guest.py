# SPDX-License-Identifier: Apache-2.0
"""What the tests of bulk and iperf3 do in the lab: python3 bulk_guest.py FUNCTION JSON-ARGUMENTS

Hosts around one router; every host has a link of its own per path.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.emulation.network import Network
from testbed.errors import TestbedError
from testbed.netlink.mptcp import Endpoint
from testbed.netlink.route import new_route, new_rule_from
from testbed.workloads.bulk import BulkWorkload
from testbed.workloads.iperf3 import Iperf3Workload

PLAIN = {
    "rate_bps": None,
    "one_way_delay_s": 0.0,
    "queue_bytes": None,
    "loss_fraction": 0.0,
    "trace": None,
}
SHARED = Path("/run/testbed")


def network(hosts, sysctls=None):
    """Return a live network.

    hosts: name -> one [to_router, from_router] of link directions per path; the n-th host has the
    addresses 10.<n>.<path>.2.
    """
    links, routes = [], {"router": []}
    for number, (host, paths) in enumerate(hosts.items()):
        routes[host] = []
        for path, (to_router, from_router) in enumerate(paths):
            gateway = f"10.{number}.{path}.1"
            links.append(
                {
                    "name": f"{host}-{path}",
                    "a": host,
                    "b": "router",
                    "a_interface": f"{host}-{path}",
                    "b_interface": f"r-{host}-{path}",
                    "a_address": f"10.{number}.{path}.2",
                    "b_address": gateway,
                    "prefix_length": 24,
                    "a_to_b": {**PLAIN, **to_router},
                    "b_to_a": {**PLAIN, **from_router},
                }
            )
        routes[host].append(
            {
                "destination": "0.0.0.0",
                "prefix_length": 0,
                "interface": f"{host}-0",
                "gateway": f"10.{number}.0.1",
            }
        )
    nodes = [{"name": name, "kind": "host"} for name in hosts]
    nodes.append({"name": "router", "kind": "router"})
    made = Network({"nodes": nodes, "links": links, "routes": routes}, {"*": sysctls or {}})
    made.build()
    return made


def use_second_path(net, host, number):
    """Give a host an endpoint on its second path, and a table of its own for it."""
    node = net.nodes[host]
    address, gateway = f"10.{number}.1.2", f"10.{number}.1.1"
    node.rtnl.add(new_rule_from(address, 101, 100), "rule")
    index = node.indexes[f"{host}-1"]
    node.rtnl.add(new_route("0.0.0.0", 0, index, gateway, table=101), "route")
    node.rtnl.flush()
    node.path_manager.add_endpoint(Endpoint(address, 1, ("subflow",), index))


def flow(number, **options):
    return {
        "id": number,
        "client": "client",
        "server": "server",
        "source_address": None,
        "address": "10.1.0.2",
        "port": 5000 + number,
        "direction": "down",
        "start_s": 0.0,
        "size_bytes": None,
        "duration_s": None,
        "block_bytes": None,
        "rate_bps": None,
        "transport": "tcp",
        "congestion_control": None,
        "send_buffer_bytes": None,
        "receive_buffer_bytes": None,
        **options,
    }


def carry_out(net, flows, limit_s=60.0, kill=None, **options):
    """Run bulk flows and return their result."""
    plan = {"name": "bulk", "flows": flows, **options}
    return carry_out_workload(BulkWorkload(plan, net, SHARED), limit_s, kill)


def carry_out_workload(workload, limit_s=60.0, kill=None):
    """Run a workload as the runner does and return its result."""
    with ExitStack() as stack:
        workload.start_servers(stack)
        start_ns = (time.monotonic_ns() // 1_000_000_000 + 1) * 1_000_000_000
        time.sleep((start_ns - time.monotonic_ns()) / 1e9)
        workload.start(stack)
        if kill:
            time.sleep(0.5)
            os.kill(workload._processes[kill].pid, signal.SIGKILL)
        deadline_ns = start_ns + round(limit_s * 1e9)
        calls = 0
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            if select.select(workload.watched(), [], [], left_ns / 1e9)[0]:
                calls += 1
                if workload.is_done():
                    break
        ended_s = (time.monotonic_ns() - start_ns) / 1e9
        result = workload.result()
    return {**result, "ended_s": ended_s, "is_done_calls": calls}


def one_link(flows, rate_bps=10_000_000, one_way_delay_s=0.010, limit_s=60.0, options=None):
    """Run flows between "client" and "server"; the client's link is the bottleneck."""
    shape = {"rate_bps": rate_bps, "one_way_delay_s": one_way_delay_s}
    net = network({"client": [[shape, shape]], "server": [[{}, {}]]})
    made = [flow(n, **wanted) for n, wanted in enumerate(flows)]
    result = carry_out(net, made, limit_s, **(options or {}))
    return {**result, "link": net.link_counters()["client-0"]}


def failing(flows, options=None):
    """Return what the error of a workload says."""
    try:
        return one_link(flows, options=options)
    except TestbedError as error:
        return str(error)


def two_paths(flows, rates_bps=(8_000_000, 2_000_000)):
    """Run MPTCP flows from a server to a client with two paths."""
    client = [[{"rate_bps": r, "one_way_delay_s": 0.01}] * 2 for r in rates_bps]
    net = network({"client": client, "server": [[{}, {}]]}, {"net.mptcp.enabled": 1})
    use_second_path(net, "client", 0)
    for name in ("client", "server"):
        net.nodes[name].path_manager.set_limits(2, 2)
    made = [flow(n, **{"transport": "mptcp", **wanted}) for n, wanted in enumerate(flows)]
    result = carry_out(net, made)
    return {**result, "links": net.link_counters()}


def without_mptcp(wanted):
    """Run one flow through a middlebox that takes the option of MPTCP out of the SYNs."""
    net = network({"client": [[{}, {}]], "server": [[{}, {}]]}, {"net.mptcp.enabled": 1})
    rules = (
        "add table ip t; add chain ip t c { type filter hook forward priority 0; }; "
        "add rule ip t c reset tcp option mptcp"
    )
    with net.nodes["router"].namespace.inside():
        subprocess.run(["nft", rules], check=True)
    return carry_out(net, [flow(0, **wanted)])


def iperf(wanted, limit_s=60.0):
    """Run iperf3, or what stands in for it, to a client with two paths."""
    shapes = [{"rate_bps": r, "one_way_delay_s": 0.01} for r in (8_000_000, 2_000_000)]
    hosts = {"client": [[shape, shape] for shape in shapes], "server": [[{}, {}]]}
    net = network(hosts, {"net.mptcp.enabled": 1})
    use_second_path(net, "client", 0)
    for name in hosts:
        net.nodes[name].path_manager.set_limits(2, 2)
    plan = {
        "name": "iperf3",
        "client": "client",
        "server": "server",
        "address": "10.1.0.2",
        "port": 5201,
        "source_address": None,
        "duration_s": None,
        "size_bytes": None,
        "direction": "down",
        "streams": 1,
        "transport": "tcp",
        **wanted,
    }
    result = carry_out_workload(Iperf3Workload(plan, net, SHARED), limit_s)
    return {**result, "links": net.link_counters()}


def many(flows_per_server, wanted, servers=1, limit_s=60.0, rate_bps=100_000_000):
    """Run flows from every server, each behind a bottleneck of its own, to one client."""
    shape = {"rate_bps": rate_bps, "one_way_delay_s": 0.005, "queue_bytes": 1_500_000}
    hosts = {f"s{n}": [[shape, shape]] for n in range(servers)}
    net = network({**hosts, "client": [[{}, {}]]})
    flows = [
        flow(n, server=f"s{n % servers}", address=f"10.{n % servers}.0.2", **wanted)
        for n in range(flows_per_server * servers)
    ]
    return {**carry_out(net, flows, limit_s), "links": net.link_counters()}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
