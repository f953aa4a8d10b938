# SPDX-License-Identifier: Apache-2.0
"""What a run records: captures and collectors."""

from typing import Any

from testbed.errors import PlanError
from testbed.plan.fairness import RIVALS
from testbed.plan.middlebox import watched_interfaces
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import FairnessSpec
from testbed.topology import near_miss

# What a segment list puts before a packet: IPv6 header and segment routing header.
WRAPPER_BYTES = 80


def captures(spec: ExperimentSpec, plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the interfaces to record: those of the paths, or those that the file names."""
    paths = {path["name"]: path for path in plain["paths"]}
    watched = watched_interfaces(spec, plain)
    wanted = [*paths, *watched] if spec.collectors.captures is None else spec.collectors.captures
    more_bytes = WRAPPER_BYTES if watched else 0
    found = []
    for text in wanted:
        if text in paths:
            path = paths[text]
            place = {"node": path["node"], "interface": path["interface"], "path": text}
        else:
            place = _interface(text, plain, paths)
        name = place["path"] or place["interface"]
        file = f"{place['node']}.{name}.pcap"
        found.append({**place, "file": file, "snap_bytes": spec.collectors.snap_bytes + more_bytes})
    return found


def _interface(text: str, plain: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    node, _, interface = text.partition(":")
    ends = {f"{link[side]}:{link[f'{side}_interface']}" for link in plain["links"] for side in "ab"}
    if text not in ends:
        known = sorted([*paths, *ends])
        what = f'collectors.captures: "{text}" is neither a path nor a node:interface'
        raise PlanError(f"{what}{near_miss(text, known)}")
    mine = [name for name, p in paths.items() if (p["node"], p["interface"]) == (node, interface)]
    return {"node": node, "interface": interface, "path": mine[0] if mine else None}


def collectors(spec: ExperimentSpec, plain: dict[str, Any]) -> dict[str, Any]:
    """Return what is sampled where: at the ends of all paths."""
    ends = {end for path in plain["paths"] for end in (path["node"], path["to"])}
    if isinstance(spec.workload, FairnessSpec):
        ends |= {*RIVALS}
    nodes = [node["name"] for node in plain["nodes"] if node["name"] in ends]
    return {
        "ss": {"nodes": nodes, "interval_s": spec.collectors.ss_interval},
        "nstat": {"nodes": nodes},
        "mptcp_events": {"nodes": nodes},
        "links": {"interval_s": spec.collectors.link_interval},
    }
