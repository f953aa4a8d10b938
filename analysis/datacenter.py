# SPDX-License-Identifier: Apache-2.0
"""Measure a run between the servers of a datacenter: goodput per flow, and how busy each link was.

Goodput is counted from the end of the warm-up to the end of the run; a NIC is the rate of one port
of a server, so that a flow that fills one gets about 0.95 NIC: the rest are headers.
"""

from typing import Any

import pandas as pd

from analysis.optimum import optimum_rates
from analysis.oracle import Demand, max_min
from analysis.tables import Frames

BITS, MEGA = 8, 1e6
MARKED_COUNTER = "TcpExtTCPDeliveredCE"
IDLE_FRACTION = 0.01  # of the time; a link that is busy for less is idle
FLOW_COLUMNS = {
    "run_id": "str",
    "flow": "int64",
    **dict.fromkeys(("sender", "receiver", "transport"), "str"),
    **dict.fromkeys(("bytes", "subflows", "expected_subflows"), "int64"),
    **dict.fromkeys(("goodput_mbps", "goodput_nic", "oracle_nic", "optimum_nic"), "float64"),
    "is_lender": "bool",
}
LINK_USE_COLUMNS = {
    "run_id": "str",
    **dict.fromkeys(("link", "direction", "layer"), "str"),
    "busy_fraction": "float64",
    "delivered_bytes": "int64",
    "dropped_packets": "int64",
}
CORE, ACCESS, SPARE, FABRIC = "core", "access", "spare", "fabric"
Run = dict[str, Any]

# What the table of runs takes from a summary.
NUMBERS = (
    "spare_ports", "active_fraction", "cc", "subflows", "transport", "rate_mbps", "goodput_nic",
    "oracle_nic", "optimum_nic", "lender_goodput_nic", "fairness", "core_busy_fraction",
    "core_idle_fraction", "dropped_packets", "marked_packets",
)  # fmt: skip


def is_datacenter(run: Run) -> bool:
    """Say whether a run is between servers in racks, from run.json."""
    return "datacenter" in (run.get("topology") or {})


def tables(frames: Frames) -> dict[str, pd.DataFrame]:
    """Return every table of the report of such a run, by the name of its file."""
    return {
        "sockets": frames.sockets,
        "connections": frames.connections,
        "counters": frames.counters,
        "links": frames.links,
        "link_samples": frames.link_samples,
        "flows": flow_table(frames),
        "link_use": link_use(frames),
    }


def flow_table(frames: Frames) -> pd.DataFrame:
    """Return one row per flow (FLOW_COLUMNS)."""
    plan, measured = frames.run["workload"], frames.manifest.get("workload") or {}
    found = {flow["id"]: flow for flow in measured.get("flows") or []}
    oracle, optimum = oracle_rates(frames.run), optimum_rates(frames.run)
    lending = lenders(frames.run)
    nic_bps = frames.run["topology"]["datacenter"]["nic_bps"]
    rows = []
    for number, flow in enumerate(plan["flows"]):
        got = found.get(flow["id"]) or {}
        rate_bps = _goodput_bps(flow, got, plan, measured)
        rows.append({
            "run_id": frames.run_id,
            "flow": flow["id"],
            "sender": flow["client"],
            "receiver": flow["server"],
            "transport": flow["transport"],
            "bytes": got.get("bytes", 0),
            "subflows": got.get("subflows", 0),
            "expected_subflows": flow["subflows"],
            "goodput_mbps": rate_bps / MEGA,
            "goodput_nic": rate_bps / nic_bps,
            "oracle_nic": oracle[number],
            "optimum_nic": optimum[number],
            "is_lender": flow["client"] in lending,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(FLOW_COLUMNS)).astype(FLOW_COLUMNS)


def _goodput_bps(flow: Run, got: Run, plan: Run, measured: Run) -> float:
    """Return the goodput after the warm-up; of a flow of a size, that of its whole time."""
    if flow.get("size_bytes"):
        return float(got.get("goodput_mbps") or 0.0) * MEGA
    seconds = float(measured.get("ended_s") or 0.0) - plan["warm_up_s"]
    marks = got.get("bytes_at_marks") or [0]
    return float((got.get("bytes", 0) - marks[0]) * BITS / seconds) if seconds > 0 else 0.0


def oracle_rates(run: Run) -> list[float]:
    """Return the max-min fair rate of each flow, in NICs, were the core ideal."""
    hosts = run["topology"]["datacenter"]["hosts"]
    return max_min([_demand(flow, hosts) for flow in run["workload"]["flows"]])


def _demand(flow: Run, hosts: Run) -> Demand:
    """Return the ports that a flow may use: its own, and those of neighbours that lend theirs.

    Neighbours have a cable between them, which is nobody's uplink or downlink.
    """
    sender, receiver = flow["client"], flow["server"]
    if flow["transport"] != "mptcp":
        own = [frozenset([("up", sender, 0)]), frozenset([("down", receiver, 0)])]
        return Demand(*own)
    up, down = _ports("up", sender, receiver, hosts), _ports("down", receiver, sender, hosts)
    return Demand(frozenset(up), frozenset(down))


def _ports(way: str, host: str, other: str, hosts: Run) -> list[tuple[Any, ...]]:
    own: list[tuple[Any, ...]] = [
        (way, host, number) for number in range(len(hosts[host]["uplinks"]))
    ]
    for lender in hosts[host]["lenders"]:
        own.append(("cable", *sorted((host, other)), way) if lender == other else (way, lender, 0))
    return own


def lenders(run: Run) -> set[str]:
    """Return the servers whose uplink another sender may use."""
    hosts = run["topology"]["datacenter"]["hosts"]
    return {
        lender
        for flow in run["workload"]["flows"]
        if flow["transport"] == "mptcp"
        for lender in hosts[flow["client"]]["lenders"]
        if lender != flow["server"]
    }


def link_use(frames: Frames) -> pd.DataFrame:
    """Return how busy each direction of each link was after the warm-up (LINK_USE_COLUMNS)."""
    warm_up_s = frames.run["workload"]["warm_up_s"]
    samples = frames.link_samples
    rows = samples[samples["t_s"] >= warm_up_s - 1e-6].sort_values("t_s", kind="stable")
    layers = link_layers(frames.run)
    found = []
    for (link, direction), part in rows.groupby(["link", "direction"], observed=True, sort=True):
        first, last = part.iloc[0], part.iloc[-1]
        seconds = last["t_s"] - first["t_s"]
        busy_s = (last["busy_ns"] - first["busy_ns"]) / 1e9
        found.append({
            "run_id": frames.run_id,
            "link": link,
            "direction": direction,
            "layer": layers.get(str(link), ""),
            "busy_fraction": busy_s / seconds if seconds > 0 else float("nan"),
            "delivered_bytes": last["delivered_bytes"] - first["delivered_bytes"],
            "dropped_packets": last["dropped_full"] - first["dropped_full"],
        })  # fmt: skip
    return pd.DataFrame(found, columns=list(LINK_USE_COLUMNS)).astype(LINK_USE_COLUMNS)


def link_layers(run: Run) -> dict[str, str]:
    """Return where each link is: at a server, between servers, in the core, or elsewhere."""
    about = run["topology"]["datacenter"]
    layers = {link["name"]: FABRIC for link in run["topology"]["links"]}
    layers |= dict.fromkeys(about["core_links"], CORE)
    for host in about["hosts"].values():
        layers |= dict.fromkeys(host["uplinks"], ACCESS)
        layers |= dict.fromkeys(host["spare_links"], SPARE)
    return layers


def summary(frames: Frames, flows: pd.DataFrame, use: pd.DataFrame) -> dict[str, Any]:
    """Return the run in a few numbers.

    goodput_nic is the mean over active servers, a server's being the sum of its flows';
    lender_goodput_nic is the mean over flows whose sender shares its uplink with another sender,
    over those of TCP alone if there are any: they have one port, so what they lack, others took.
    """
    names = ["goodput_mbps", "goodput_nic", "oracle_nic", "optimum_nic"]
    senders = flows.groupby("sender")[names].sum().mean()
    core = use.loc[use["layer"] == CORE, "busy_fraction"]
    is_tcp = flows["is_lender"] & (flows["transport"] == "tcp")
    lending = flows.loc[is_tcp if is_tcp.any() else flows["is_lender"], "goodput_nic"]
    about = frames.run["topology"]["datacenter"]
    return {
        **{str(name): float(value) for name, value in senders.items()},
        "goodput_min_nic": float(flows["goodput_nic"].min()),
        "lender_goodput_nic": float(lending.mean()) if len(lending) else None,
        "fairness": jain_index(flows["goodput_nic"] / flows["oracle_nic"]),
        "spare_ports": about["spare_ports"],
        "active_fraction": frames.run["workload"]["active_fraction"],
        "cc": frames.run["mptcp"]["congestion_control"],
        "subflows": about["subflows"],
        "transport": frames.run["transport"],
        "rate_mbps": about["nic_bps"] / MEGA,
        "core_busy_fraction": float(core.mean()) if len(core) else None,
        "core_idle_fraction": float((core < IDLE_FRACTION).mean()) if len(core) else None,
        "dropped_packets": int(use["dropped_packets"].sum()),
        "marked_packets": _marked_packets(frames),
    }


def _marked_packets(frames: Frames) -> int:
    """Return how many packets that the senders know to have arrived had been marked (ECN)."""
    rows = frames.counters[frames.counters["counter"].astype("str") == MARKED_COUNTER]
    return int(rows["delta"].sum())


def jain_index(values: "pd.Series[float]") -> float | None:
    """Return Jain's index of fairness: 1 if all are equal, 1/n if one has all."""
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * squares) if squares else None
