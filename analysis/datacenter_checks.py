# SPDX-License-Identifier: Apache-2.0
"""Checks of runs between the servers of a datacenter, where packets are not captured."""

from typing import Any

from analysis.datacenter import is_datacenter
from analysis.reasons import Reason, invalid
from analysis.tables import Frames

NAMED = 5  # flows that a sentence names before it counts


def check_flows(frames: Frames) -> list[Reason]:
    """Every flow was opened, carried data, and was not cut off."""
    if not is_datacenter(frames.run):
        return []
    found = []
    for flow in _flows(frames):
        who = f"flow {flow['id']}"
        if flow.get("error"):
            found.append(invalid("flows", f"{who} {flow['error']}", flow=flow["id"]))
        elif not flow.get("has_ended"):
            found.append(invalid("flows", f"{who} had not ended when the run was over"))
        elif not flow.get("bytes"):
            found.append(invalid("flows", f"{who} carried no data", flow=flow["id"]))
    planned, ran = len(frames.run["workload"]["flows"]), len(_flows(frames))
    if planned != ran:
        found.append(invalid("flows", f"{ran} of {planned} flows left a result"))
    return found


def check_fallen_back(frames: Frames) -> list[Reason]:
    """No MPTCP flow went on as TCP, by what its sockets said at the end."""
    fallen = [flow["id"] for flow in _flows(frames) if flow.get("has_fallen_back")]
    if not is_datacenter(frames.run) or not fallen:
        return []
    return [invalid("fallback", f"{_named(fallen)} fell back to TCP", flows=fallen)]


def check_subflows(frames: Frames) -> list[Reason]:
    """Every MPTCP flow had a subflow for each pair of addresses when the run ended."""
    if not is_datacenter(frames.run):
        return []
    wanted = {flow["id"]: flow.get("subflows", 0) for flow in frames.run["workload"]["flows"]}
    short = [
        flow
        for flow in _flows(frames)
        if flow.get("transport") == "mptcp"
        and not flow.get("error")
        and flow.get("subflows", 0) < wanted.get(flow["id"], 0)
    ]
    # A flow of a size may be over before it is established well enough for a second subflow.
    if not short or any(f.get("size_bytes") for f in frames.run["workload"]["flows"]):
        return []
    first = short[0]
    message = (
        f"{_named([flow['id'] for flow in short])} lacked subflows: flow {first['id']} had "
        f"{first.get('subflows', 0)} of {wanted[first['id']]}"
    )
    return [invalid("subflows", message, flows=[flow["id"] for flow in short])]


def check_controls(frames: Frames) -> list[Reason]:
    """Every sampled connection to or from a flow's port used the congestion control asked for."""
    asked = (frames.run.get("mptcp") or {}).get("congestion_control")
    if not is_datacenter(frames.run) or not asked:
        return []
    rows = frames.sockets[frames.sockets["congestion_control"] != ""]
    if rows.empty:
        message = (
            "no socket was sampled, so none is known to use it; shorten collectors.ss_interval"
        )
        return [invalid("congestion_control", message)]
    wrong = rows[rows["congestion_control"] != asked]
    names = sorted({f"{row.congestion_control} on {row.host}" for row in wrong.itertuples()})
    if not names:
        return []
    message = f"sockets used the congestion control {', '.join(names[:NAMED])}, asked was {asked}"
    return [invalid("congestion_control", message, asked=asked, used=names)]


def _flows(frames: Frames) -> list[dict[str, Any]]:
    return list((frames.manifest.get("workload") or {}).get("flows") or [])


def _named(flows: list[int]) -> str:
    if len(flows) == 1:
        return f"flow {flows[0]}"
    more = f" and {len(flows) - NAMED} more" if len(flows) > NAMED else ""
    return f"flows {', '.join(map(str, flows[:NAMED]))}{more}"
