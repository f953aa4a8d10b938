# SPDX-License-Identifier: Apache-2.0
"""The workload of a run as plain data: addresses, ports, contents."""

from collections.abc import Callable
from typing import Any

from testbed import content
from testbed.errors import PlanError
from testbed.plan.fairness import plan_fairness
from testbed.plan.interference import plan_interference
from testbed.plan.middlebox import plan_middlebox
from testbed.plan.migrate import plan_migration
from testbed.plan.modes import Use
from testbed.render import render
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import BulkSpec, DownloadSpec, Iperf3Spec, UdpSpec

PROXY_PORT = 3128
ORIGIN_PORT = 8080
BULK_PORT = 5001
UDP_PORT = 5301
# More than the link carries, so that it always has something to do.
UDP_EXCESS = 1.05
IPERF_PORT = 5201
SCRATCH = "/tmp/download"


def plan_workload(
    spec: ExperimentSpec,
    topology: dict[str, Any],
    use: Use,
    seed: int,
    shares: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return "workload" of run.json.

    Args:
        spec: the experiment.
        topology: as plain data.
        use: of the paths.
        seed: of the run.
        shares: of its time for which a path is open, where that is not always.

    Raises:
        PlanError: the network has not the hosts that the workload needs, or the mode needs a
            workload that can be resumed.
    """
    if use.is_resumed and spec.workload.name != "download":
        raise PlanError(
            f'mode: "{spec.mode}" asks for the rest over a new connection, which only the '
            f'workload "download" can; use an mptcp mode or tcp-<path> with a path that stays'
        )
    if spec.workload.name not in (*PLANNERS, "udp"):
        raise PlanError(
            f'workload: "{spec.workload.name}" is between the servers of a datacenter, but '
            f"{spec.topology_name} has a client with paths; use one of {', '.join(PLANNERS)}"
        )
    if isinstance(spec.workload, UdpSpec):
        plan = _udp(spec.workload, topology, use, shares or {})
    else:
        plan = PLANNERS[spec.workload.name](spec, topology, seed)
    plan |= _source(plan, topology, use) if spec.workload.name in ("bulk", "iperf3") else {}
    return {
        "name": spec.workload.name,
        "transport": use.transport,
        "path": use.first_path,
        "is_resumed": use.is_resumed,
        **plan,
    }


def _source(plan: dict[str, Any], topology: dict[str, Any], use: Use) -> dict[str, Any]:
    """Bind the client's side to the path of a mode that keeps to one."""
    addresses = {path["name"]: path["address"] for path in topology["paths"]}
    source = addresses[use.first_path] if use.first_path is not None else None
    if "flows" in plan:
        return {"flows": [{**flow, "source_address": source} for flow in plan["flows"]]}
    return {"source_address": source}


def _download(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    assert isinstance(spec.workload, DownloadSpec)
    missing = [name for name in ("proxy", "origin") if name not in _nodes(topology)]
    if missing:
        raise PlanError(
            f'the workload "download" needs a node "{missing[0]}", which the topology '
            f'"{spec.topology_name}" does not have'
        )
    size = spec.workload.size
    return {
        "client": topology["paths"][0]["node"],
        "proxy": _server(topology, "proxy", PROXY_PORT),
        "origin": _server(topology, "origin", ORIGIN_PORT),
        "size_bytes": size,
        "seed": seed,
        "sha256": content.sha256(seed, size),
        "squid_conf": render(
            "squid.conf.j2", port=PROXY_PORT, clients="10.0.0.0/8", scratch=SCRATCH
        ),
    }


def _bulk(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    workload = spec.workload
    assert isinstance(workload, BulkSpec)
    client, server = topology["paths"][0]["node"], topology["paths"][0]["to"]
    flows = []
    for number in range(workload.flows):
        start_s = workload.start + number * workload.stagger
        if start_s >= spec.duration:
            raise PlanError(
                f"workload: flow {number} starts at {start_s:g} s, but the run ends at "
                f"{spec.duration:g} s"
            )
        left_s = spec.duration - start_s
        duration_s = None if workload.size else min(workload.duration or left_s, left_s)
        flows.append(
            {
                "id": number,
                "client": client,
                "server": server,
                "address": _address_of(topology, server),
                "port": BULK_PORT + number,
                "direction": workload.direction,
                "start_s": start_s,
                "size_bytes": workload.size,
                "duration_s": duration_s,
                "block_bytes": workload.block,
                "rate_bps": workload.rate,
            }
        )
    return {"flows": flows, "record_blocks": workload.block is not None, "seed": seed}


def _iperf3(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    workload = spec.workload
    assert isinstance(workload, Iperf3Spec)
    server = topology["paths"][0]["to"]
    duration_s = None if workload.size else min(workload.duration or spec.duration, spec.duration)
    return {
        "client": topology["paths"][0]["node"],
        "server": server,
        "address": _address_of(topology, server),
        "port": IPERF_PORT,
        "direction": workload.direction,
        "size_bytes": workload.size,
        "duration_s": duration_s,
        "streams": workload.streams,
    }


def _udp(
    workload: UdpSpec, topology: dict[str, Any], use: Use, shares: dict[str, float]
) -> dict[str, Any]:
    """Return a stream for each path that the client has at the start."""
    links = {link["name"]: link for link in topology["links"]}
    flows = []
    for number, path in enumerate(topology["paths"]):
        if path["name"] not in use.at_start:
            continue
        link, direction = path["hops"][0]
        back = "b_to_a" if direction == "a_to_b" else "a_to_b"
        rate_bps = workload.rate or links[link][back]["rate_bps"]
        if rate_bps is None:
            raise PlanError(f"workload.rate: the link {link} has no rate; give one")
        if workload.rate is None:
            rate_bps = round(UDP_EXCESS * shares.get(path["name"], 1.0) * rate_bps)
        flows.append(
            {
                "client": path["node"],
                "server": path["to"],
                "path": path["name"],
                "address": path["address"],
                "port": UDP_PORT + number,
                "rate_bps": rate_bps,
                "packet_bytes": workload.packet,
            }
        )
    return {"flows": flows}


PLANNERS: dict[str, Callable[[ExperimentSpec, dict[str, Any], int], dict[str, Any]]] = {
    "download": _download,
    "bulk": _bulk,
    "iperf3": _iperf3,
    "migrate": plan_migration,
    "middlebox": plan_middlebox,
    "interference": plan_interference,
    "fairness": plan_fairness,
}


def _nodes(topology: dict[str, Any]) -> set[str]:
    return {node["name"] for node in topology["nodes"]}


def _server(topology: dict[str, Any], node: str, port: int) -> dict[str, Any]:
    return {"node": node, "address": _address_of(topology, node), "port": port}


def _address_of(topology: dict[str, Any], node: str) -> str:
    """Return the address of a host on its first link."""
    for link in topology["links"]:
        for side in "ab":
            if link[side] == node:
                return str(link[f"{side}_address"])
    raise PlanError(f'the topology has no link at the node "{node}"')
