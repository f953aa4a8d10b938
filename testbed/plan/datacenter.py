# SPDX-License-Identifier: Apache-2.0
"""Plans runs in which all servers of a datacenter send and receive: flows, limits, ECMP.

A network of this kind names no path. Its modes are `tcp`, one connection by each server's first
port, and `mptcp-full`, which uses all ports.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Any

from testbed.errors import PlanError
from testbed.plan.modes import FULL
from testbed.plan.traffic import PATTERNS
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import TRAFFIC, PermutationSpec
from testbed.topology import near_miss

TCP = "tcp"
PORT = 5001
WARM_UP_FRACTION = 0.25
SERVERS_PER_MEMORY = 32

# One port per transport, because a listener speaks one.
PORTS = {"mptcp": PORT, "tcp": PORT + 1}

# Layer 3 and 4 by our choice of fields: addresses, protocol, ports. With policy 1 a switch takes
# the hash that the sender's socket left on the packet, so that all switches choose alike.
HASH_POLICY, HASH_FIELDS = 3, 0x37
ECMP_SYSCTLS = {
    "net.ipv4.fib_multipath_hash_policy": HASH_POLICY,
    "net.ipv4.fib_multipath_hash_fields": HASH_FIELDS,
}
HASH_SEED = "net.ipv4.fib_multipath_hash_seed"

# Congestion controls that are nothing of themselves without queues that mark packets (RFC 8257).
NEEDS_MARKS = ("dctcp",)


@dataclass(frozen=True)
class DatacenterUse:
    """What a mode makes of a datacenter; the names are those of `modes.Use`."""

    transport: str
    is_resumed: bool = False
    first_path: str | None = None


def is_datacenter(plain: dict[str, Any]) -> bool:
    """Say whether a network has servers in racks instead of a client with paths."""
    return "datacenter" in plain


def use_datacenter(mode: str) -> DatacenterUse:
    """Return what a mode makes of a datacenter.

    Raises:
        PlanError: there is no such mode.
    """
    if mode not in (TCP, FULL):
        hint = near_miss(mode, (TCP, FULL)) or f" (there are {TCP} and {FULL})"
        raise PlanError(f'mode: "{mode}" is not a mode of this network{hint}')
    return DatacenterUse("tcp" if mode == TCP else "mptcp")


def check_datacenter(spec: ExperimentSpec) -> None:
    """Refuse what needs a client with paths.

    Raises:
        PlanError: the experiment asks for such a thing.
    """
    if not isinstance(spec.workload, TRAFFIC):
        names = ", ".join(PATTERNS)
        raise PlanError(
            f'workload: "{spec.workload.name}" is between a client and a server, but '
            f"{spec.topology_name} has many of both; use one of {names}"
        )
    for key, is_asked in (("ride", spec.ride), ("mptcp.endpoints", spec.mptcp.endpoints)):
        if is_asked:
            raise PlanError(f"{key}: {spec.topology_name} has no client whose paths could have any")


def mark_queues(spec: ExperimentSpec, plain: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    """Let every queue mark packets if the congestion control needs that.

    What marks follows a queue by its rate and limit, so these must stay as they are.

    Raises:
        PlanError: they do not.
    """
    control, about = spec.tcp.congestion_control, plain["datacenter"]
    if control not in NEEDS_MARKS:
        return
    changed = {change["link"] for change in changes if "link" in change}
    for link in plain["links"]:
        for way in (link["a_to_b"], link["b_to_a"]):
            is_constant = way["rate_bps"] and way["queue_bytes"] and not way["trace"]
            if not is_constant or way["loss_fraction"] or link["name"] in changed:
                raise PlanError(
                    f"tcp.congestion_control: {control} needs queues that mark packets, which are "
                    f'there for links of constant rate without random loss only, and "'
                    f'{link["name"]}" is none'
                )
            way["mark_bytes"] = about["mark_bytes"] * way["rate_bps"] // about["nic_bps"]


def plan_traffic(
    spec: ExperimentSpec, plain: dict[str, Any], use: DatacenterUse, seed: int
) -> dict[str, Any]:
    """Return "workload" of run.json: flows of the workload bulk.

    Raises:
        PlanError: the network has too few servers, or the run is too short.
    """
    workload = spec.workload
    assert isinstance(workload, TRAFFIC)
    hosts = plain["datacenter"]["hosts"]
    chance = random.Random(f"traffic:{seed}")
    pairs = PATTERNS[workload.name](workload, list(hosts), chance)
    warm_up_s = spec.duration * WARM_UP_FRACTION if workload.warm_up is None else workload.warm_up
    if max(workload.stagger, warm_up_s) >= spec.duration:
        raise PlanError(
            f"workload: stagger and warm_up have to end before the run, at {spec.duration:g} s"
        )
    plain_tcp = _tcp_flows(workload, len(pairs), chance)
    flows = [
        _flow(number, pair, hosts, "tcp" if number in plain_tcp else use.transport, start_s)
        | {"size_bytes": workload.size}
        for number, (pair, start_s) in enumerate(
            (pair, round(chance.uniform(0, workload.stagger), 6)) for pair in pairs
        )
    ]
    return {
        "name": "bulk",
        "pattern": workload.name,
        "active_fraction": len({a for a, _ in pairs}) / len(hosts),
        "transport": use.transport,
        "path": None,
        "is_resumed": False,
        "record_blocks": False,
        "seed": seed,
        "warm_up_s": warm_up_s,
        "marks_s": [warm_up_s],
        "flows": flows,
    }


def _tcp_flows(workload: Any, count: int, chance: random.Random) -> set[int]:
    fraction = workload.tcp_fraction if isinstance(workload, PermutationSpec) else 0.0
    return set(chance.sample(range(count), round(fraction * count)))


def _flow(
    number: int, pair: tuple[str, str], hosts: dict[str, Any], transport: str, start_s: float
) -> dict[str, Any]:
    sender, receiver = pair
    subflows = hosts[sender]["local_addresses"] * (1 + hosts[receiver]["announced_addresses"])
    return {
        "id": number,
        "client": sender,
        "server": receiver,
        "address": hosts[receiver]["address"],
        "source_address": hosts[sender]["address"],
        "port": PORTS[transport],
        "direction": "up",
        "transport": transport,
        "start_s": start_s,
        "duration_s": None,
        "subflows": subflows if transport == "mptcp" else 0,
    }


def datacenter_limits(plain: dict[str, Any]) -> dict[str, int]:
    """Return limits of the path manager by which every pair of addresses gets its subflow.

    The receiver tries to open subflows too, to a port of the sender where nobody listens; while
    it tries, they count. So there is room for as many again, as far as the kernel goes.
    """
    from testbed.topology.datacenter import MAX_EXTRA_SUBFLOWS

    hosts = plain["datacenter"]["hosts"].values()
    local = max(host["local_addresses"] for host in hosts)
    announced = max(host["announced_addresses"] for host in hosts)
    return {
        "subflows": min(2 * local * (1 + announced), MAX_EXTRA_SUBFLOWS),
        "add_addr_accepted": announced,
    }


def memory_factor(plain: dict[str, Any]) -> int:
    """Return how many times the usual memory the buffers of all servers need.

    With less, the kernel is under pressure and stops the buffers from growing, and connections of
    several subflows stall on the slowest of them: with 128 servers and the usual memory, eight
    subflows got 0.63 NIC instead of 0.84.
    """
    return -(-len(plain["datacenter"]["hosts"]) // SERVERS_PER_MEMORY)


def ecmp_sysctls(plain: dict[str, Any], seed: int) -> dict[str, dict[str, int]]:
    """Return the sysctls of every router that chooses among several next hops."""
    return {
        node: {**ECMP_SYSCTLS, HASH_SEED: _hash_seed(node, seed)}
        for node, routes in plain["routes"].items()
        if any("next_hops" in route for route in routes)
    }


def _hash_seed(node: str, seed: int) -> int:
    """Return a seed of the node's own; 0 would mean one that the kernel draws."""
    digest = hashlib.sha256(f"ecmp:{seed}:{node}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def datacenter_collectors(spec: ExperimentSpec, plain: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of all servers: sockets, counters, links.

    Flows of a size may be over soon, so their sockets are sampled often; others now and then.
    """
    nodes = list(plain["datacenter"]["hosts"])
    interval_s = spec.collectors.ss_interval
    if not getattr(spec.workload, "size", None):
        interval_s = max(interval_s, spec.duration / 4)
    return {
        "ss": {"nodes": nodes, "interval_s": interval_s},
        "ss_text": {"nodes": []},
        "nstat": {"nodes": nodes},
        "mptcp_events": {"nodes": []},
        "links": {"interval_s": spec.collectors.link_interval},
    }
