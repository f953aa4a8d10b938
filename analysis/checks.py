# SPDX-License-Identifier: Apache-2.0
"""The ways in which a run can fail to measure what it was to measure, one check each.

A check looks for one fault and gives the numbers it saw. What a run did not record, it does not
excuse: counters that are absent make a run invalid.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics, ride
from analysis.tables import Frames

COUNTER_PREFIX = "MPTcpExt"
# Counters of "this connection went on as TCP" (net/mptcp/mib.c). Later kernels add causes, so
# every name with this word counts; the exception counts fallbacks that were refused.
FALLBACK_WORD, FALLBACK_EXCEPTIONS = "Fallback", ("MPTcpExtFallbackFailed",)
# A SYN was sent without MPTCP after some with it had been lost, or because they had been before
# (net.mptcp.blackhole_timeout); a mapping without end, by which a connection becomes TCP.
FALLBACK_COUNTERS = (
    "MPTcpExtMPCapableSYNTXDrop",
    "MPTcpExtMPCapableSYNTXDisabled",
    "MPTcpExtInfiniteMapTx",
    "MPTcpExtInfiniteMapRx",
)
# What only a host that opens a connection counts. A proxy opens connections of its own, to origins
# that need not speak MPTCP: such a leg is not under test.
OPENER_COUNTERS = (
    "MPTcpExtMPCapableFallbackSYNACK",
    "MPTcpExtMPFallbackTokenInit",
    "MPTcpExtMPCapableSYNTXDrop",
    "MPTcpExtMPCapableSYNTXDisabled",
)
# A path covered for less is not expected to carry data: association, a SYN and slow start.
EXPECTED_AFTER_S = 3.0
# Where a link's rate is checked, and what is allowed above it: the packets at either edge.
WINDOW_S, SLACK_BYTES = 1.0, 2 * ride.OPPORTUNITY_BYTES
# How long after a run's end its captures may still go on.
DRAIN_S = 1.0
# The clocks of capture and emulation are one; this is for the microseconds of tcp_info.
RTT_TOLERANCE_FRACTION, RTT_TOLERANCE_MS = 0.005, 0.01


@dataclass(frozen=True)
class Reason:
    """One finding.

    Attributes:
        check: name of the check in CHECKS.
        level: "suspect" or "invalid".
        message: one sentence with the evidence in it.
        evidence: the same numbers for programs.
    """

    check: str
    level: str
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


def _invalid(check: str, message: str, **evidence: Any) -> Reason:
    return Reason(check, "invalid", message, evidence)


def _suspect(check: str, message: str, **evidence: Any) -> Reason:
    return Reason(check, "suspect", message, evidence)


def is_mptcp_run(frames: Frames) -> bool:
    """Tell whether the run is about MPTCP at all: a baseline over TCP has no "mptcp"."""
    return bool(frames.run.get("mptcp"))


def check_readable(frames: Frames) -> list[Reason]:
    """Everything that the run was to record is there and well formed."""
    return [_invalid("readable", problem) for problem in frames.problems]


def check_workload(frames: Frames) -> list[Reason]:
    """The run ended by itself, and the workload moved the bytes that it was to move."""
    status = frames.manifest.get("status")
    if status != "complete":
        return [_invalid("workload", f"the run is {status}, not complete", status=status)]
    asked, got = frames.run.get("workload") or {}, frames.manifest.get("workload") or {}
    found = []
    code = got.get("exit_status")
    if "exit_status" in got and code is None:
        found.append(_invalid("workload", "the workload had not ended when its time was up"))
    elif code != 0:
        found.append(_invalid("workload", f"the workload exited {code}", exit_status=code))
    for key in ("size_bytes", "sha256"):
        if asked.get(key) is not None and got.get(key) != asked[key]:
            message = f"the workload's {key} is {got.get(key)}, asked was {asked[key]}"
            found.append(_invalid("workload", message, asked=asked[key], got=got.get(key)))
    return found


def check_clock(frames: Frames) -> list[Reason]:
    """The captures are of this run: no packet before its start or long after its end."""
    span_s = frames.packet_span_s()
    if span_s is None:
        return []
    first_s, last_s = span_s
    until_s = float(frames.manifest.get("virtual_s") or np.inf)
    if first_s >= 0 and last_s <= until_s + DRAIN_S:
        return []
    message = (
        f"packets are from {first_s:.3f} s to {last_s:.3f} s, the run ended at {until_s:.1f} s"
    )
    return [_invalid("clock", message, first_s=first_s, last_s=last_s, until_s=until_s)]


def check_fallback(frames: Frames) -> list[Reason]:
    """No connection went on as TCP, by the kernel's counters, its sockets and the handshakes."""
    if not is_mptcp_run(frames):
        return []
    flows = frames.subflows
    found = _fallback_counters(frames)
    rows = frames.connections[frames.connections["is_fallback"]]
    ours = {*zip(flows["local"], flows["remote"], strict=True)}
    ours |= {(remote, local) for local, remote in ours}
    ends = set(zip(rows["host"], rows["local"], rows["remote"], strict=True))
    fallen = sorted(f"{end[1]} > {end[2]} on {end[0]}" for end in ends if end[1:] in ours)
    if fallen:
        message = f"{len(fallen)} ends of connections report that they fell back to TCP"
        found.append(_invalid("fallback", message, sockets=fallen))
    plain = flows[(flows["kind"] == "tcp") & flows["is_asked"] & flows["synack_s"].notna()]
    if len(plain):
        names = (plain["local"] + " > " + plain["remote"]).tolist()
        message = f"{len(names)} connections asked for MPTCP and got a SYN/ACK without it"
        found.append(_invalid("fallback", message, connections=names))
    if not (flows["is_mptcp"] & (flows["kind"] == "initial")).any():
        message = f"no MPTCP connection was captured, only {len(flows)} of TCP"
        found.append(_invalid("fallback", message, connections=len(flows)))
    return found


def _fallback_counters(frames: Frames) -> list[Reason]:
    counters = frames.counters
    names = counters["counter"].astype("str")
    is_mptcp = names.str.startswith(COUNTER_PREFIX)
    if not is_mptcp.any():
        return [_invalid("fallback", "the MPTCP counters are absent, fallback cannot be excluded")]
    is_sign = is_mptcp & names.str.contains(FALLBACK_WORD) & ~names.isin(FALLBACK_EXCEPTIONS)
    openers = {path["node"] for path in frames.run["topology"]["paths"]}
    is_elsewhere = names.isin(OPENER_COUNTERS) & ~counters["host"].isin(openers)
    is_sign = (is_sign | names.isin(FALLBACK_COUNTERS)) & ~is_elsewhere
    seen = counters[is_sign & (counters["delta"] > 0)]
    return [
        _invalid(
            "fallback",
            f"{row['counter']} rose by {row['delta']} on {row['host']}",
            **{name: row[name] for name in ("counter", "delta", "host")},
        )
        for row in seen.to_dict("records")
    ]


def check_paths(frames: Frames) -> list[Reason]:
    """Every path that was covered long enough has an MPTCP subflow and carried data.

    A path all of whose subflows are backups need not carry data.
    """
    if not is_mptcp_run(frames):
        return []
    first_s, last_s = metrics.download_span(frames)
    # Where the capture lacks data, the workload still says how long there was something to do.
    ended_s = (frames.manifest.get("workload") or {}).get("ended_s")
    span = (first_s, max(last_s, float(ended_s or 0.0)))
    backups = _backup_subflows(frames)
    found = []
    for name in [path["name"] for path in frames.run["topology"]["paths"]]:
        covered_s = ride.coverage_of(frames.run, name).seconds_within(*span)
        if covered_s < EXPECTED_AFTER_S:
            continue
        flows = frames.subflows[(frames.subflows["path"] == name) & frames.subflows["is_mptcp"]]
        carried = int(frames.data.loc[frames.data["path"] == name, "new_bytes"].sum())
        evidence = {"path": name, "covered_s": round(covered_s, 3), "new_bytes": carried}
        if flows.empty:
            message = f"no MPTCP subflow on path {name} in {covered_s:.1f} s of coverage"
            found.append(_invalid("paths", message, **evidence))
        elif carried == 0 and not set(flows["subflow"]) <= backups:
            message = f"path {name} carried no data in {covered_s:.1f} s of coverage"
            found.append(_invalid("paths", message, **evidence))
    return found


def _backup_subflows(frames: Frames) -> set[int]:
    """Return the subflows that either side ever declared a backup."""
    sampled = frames.sockets.loc[frames.sockets["is_backup"], "subflow"]
    is_asking = frames.events["subtype"].isin(["MP_JOIN", "MP_PRIO"])
    said = frames.events[is_asking & (frames.events["flags"].fillna(0) % 2 == 1)]["subflow"]
    return {int(subflow) for subflow in [*sampled, *said]}


def check_captures(frames: Frames) -> list[Reason]:
    """No packet is missing from the captures, and none is on the wrong interface."""
    found = []
    for row in frames.captures.to_dict("records"):
        file, received = row["file"], row["received"]
        if pd.isna(row["dropped"]) or pd.isna(received) or pd.isna(row["captured"]):
            found.append(_suspect("captures", f"{file}: tcpdump did not say what it dropped"))
            continue
        if row["dropped"] > 0:
            message = f"{file}: tcpdump dropped {row['dropped']} of {received} packets"
            found.append(_suspect("captures", message, file=file, dropped=int(row["dropped"])))
        if (missing := int(received - row["captured"])) > 0:
            message = f"{file}: {missing} packets were still in the buffer when tcpdump ended"
            found.append(_suspect("captures", message, file=file, missing=missing))
        if foreign := row["foreign_packets"]:
            message = f"{file}: {foreign} packets belong to another path of the same host"
            found.append(_invalid("captures", message, file=file, foreign=int(foreign)))
    return found


def check_complete(frames: Frames) -> list[Reason]:
    """The captures hold all the bytes that the application says it read."""
    workload = frames.manifest.get("workload") or {}
    size, seen = int(workload.get("size_bytes") or 0), int(frames.delivered["bytes"].sum())
    if seen >= size or not len(frames.captures):
        return []
    message = f"the application read {size} bytes, the captures hold {seen} of them in order"
    return [_suspect("complete", message, size_bytes=size, captured_bytes=seen)]


def check_delivered(frames: Frames) -> list[Reason]:
    """No link delivered more than its rate or its trace allows over the run."""
    seconds = float(frames.manifest.get("virtual_s") or frames.run.get("duration_s") or 0)
    _, last_s = frames.packet_span_s() or (0.0, 0.0)
    seconds = max(seconds, last_s)
    found = []
    for link in frames.run["topology"]["links"]:
        for direction in ("a_to_b", "b_to_a"):
            is_this = frames.links["link"] == link["name"]
            is_this &= frames.links["direction"] == direction
            delivered = int(frames.links.loc[is_this, "delivered_bytes"].sum())
            allowed = float(ride.capacity_bytes(link[direction], np.array([0.0, seconds]))[0])
            if delivered > allowed + SLACK_BYTES:
                message = f"link {link['name']} {direction} delivered {delivered} bytes in "
                message += f"{seconds:.1f} s, its capacity is {allowed:.0f}"
                evidence = {"link": link["name"], "direction": direction}
                found.append(_invalid("delivered", message, **evidence, delivered=delivered,
                                      allowed=allowed))  # fmt: skip
    return found


def check_rate(frames: Frames) -> list[Reason]:
    """In no second did more arrive at an interface than its link can carry.

    What arrives in a window left the link's server one propagation delay earlier.
    """
    found = []
    for link in ride.access_links(frames.run):
        mine = frames.received(link.path)
        if mine is None:
            continue
        served_s = mine.t_s - float(link.rx.get("one_way_delay_s") or 0.0)
        edges = metrics.bin_edges(max(float(served_s.max()), 0.0) + WINDOW_S, WINDOW_S)
        arrived = metrics.binned(served_s, mine.ip_bytes, edges)
        allowed = ride.capacity_bytes(link.rx, edges)
        excess = arrived - allowed - SLACK_BYTES
        worst = int(np.argmax(excess))
        if excess[worst] > 0:
            message = f"path {link.path} received {arrived[worst]:.0f} bytes in the second from "
            message += f"{edges[worst]:.0f} s, its link can carry {allowed[worst]:.0f}"
            evidence = {"received": int(arrived[worst]), "allowed": float(allowed[worst])}
            found.append(_invalid("rate", message, path=link.path, **evidence,
                                  seconds=int((excess > 0).sum())))  # fmt: skip
    return found


def check_rtt(frames: Frames) -> list[Reason]:
    """No round trip was shorter than the propagation delay of the path's access link.

    Two measurements, the longer counts: SYN to SYN/ACK in the capture (which does not see a delay
    on the capturing interface itself), and the kernel's own minimum.
    """
    found = []
    for link in ride.access_links(frames.run):
        flows = frames.subflows[frames.subflows["path"] == link.path]
        samples = frames.sockets[frames.sockets["path"] == link.path]
        minima = [flows["handshake_rtt_ms"].min(), samples["min_rtt_ms"].min()]
        measured_ms = max((float(value) for value in minima if not pd.isna(value)), default=np.inf)
        asked_ms = link.round_trip_s * 1e3
        if measured_ms < asked_ms * (1 - RTT_TOLERANCE_FRACTION) - RTT_TOLERANCE_MS:
            message = f"the shortest round trip on path {link.path} took {measured_ms:.3f} ms, "
            message += f"its link alone takes {asked_ms:.3f} ms"
            evidence = {"measured_ms": measured_ms, "asked_ms": asked_ms}
            found.append(_invalid("rtt", message, path=link.path, **evidence))
    return found


def check_congestion_control(frames: Frames) -> list[Reason]:
    """Every subflow used the congestion control that was asked, on both ends."""
    asked = (frames.run.get("mptcp") or {}).get("congestion_control")
    rows = frames.sockets[(frames.sockets["subflow"] >= 0) & frames.sockets["is_subflow"]]
    used = rows[rows["congestion_control"] != ""]
    wrong = used[used["congestion_control"] != asked]
    if not asked or wrong.empty:
        return []
    names = sorted({f"{row.congestion_control} on {row.host}" for row in wrong.itertuples()})
    message = f"subflows used the congestion control {', '.join(names)}, asked was {asked}"
    return [_invalid("congestion_control", message, asked=asked, used=names)]


CHECKS: dict[str, Callable[[Frames], list[Reason]]] = {
    "readable": check_readable,
    "workload": check_workload,
    "clock": check_clock,
    "fallback": check_fallback,
    "paths": check_paths,
    "captures": check_captures,
    "complete": check_complete,
    "delivered": check_delivered,
    "rate": check_rate,
    "rtt": check_rtt,
    "congestion_control": check_congestion_control,
}
