# SPDX-License-Identifier: Apache-2.0
"""The ways in which a run can fail to measure what it was to measure, one check each.

A check looks for one fault and gives the numbers it saw. What a run did not record, it does not
excuse: counters that are absent make a run invalid.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis import (
    datacenter,
    datacenter_checks,
    fairness,
    interference,
    link_checks,
    metrics,
    middlebox,
    migration,
    radio,
    real_time,
    ride,
    wifi,
)
from analysis.reasons import Reason, invalid, suspect
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
# How long after a run's end its captures may still go on, where the manifest does not say.
DRAIN_S = 1.0
# The clocks of capture and emulation are one; this is for the microseconds of tcp_info.
RTT_TOLERANCE_FRACTION, RTT_TOLERANCE_MS = 0.005, 0.01


def is_mptcp_run(frames: Frames) -> bool:
    """Tell whether the run is about MPTCP at all, or a baseline over TCP."""
    transport = frames.run.get("transport")
    return bool(frames.run.get("mptcp")) if transport is None else transport == "mptcp"


def check_readable(frames: Frames) -> list[Reason]:
    """Everything that the run was to record is there and well formed."""
    return [invalid("readable", problem) for problem in frames.problems]


def check_workload(frames: Frames) -> list[Reason]:
    """The run ended by itself, and the workload moved the bytes that it was to move."""
    status = frames.manifest.get("status")
    if status != "complete":
        return [invalid("workload", f"the run is {status}, not complete", status=status)]
    asked, got = frames.run.get("workload") or {}, frames.manifest.get("workload") or {}
    found = []
    code = got.get("exit_status")
    if "exit_status" in got and code is None:
        found.append(invalid("workload", "the workload had not ended when its time was up"))
    elif code != 0:
        found.append(invalid("workload", f"the workload exited {code}", exit_status=code))
    for key in ("size_bytes", "sha256"):
        if asked.get(key) is not None and got.get(key) != asked[key]:
            message = f"the workload's {key} is {got.get(key)}, asked was {asked[key]}"
            found.append(invalid("workload", message, asked=asked[key], got=got.get(key)))
    return found


def check_clock(frames: Frames) -> list[Reason]:
    """The captures are of this run: no packet before its start or long after its end."""
    span_s = frames.packet_span_s()
    if span_s is None:
        return []
    first_s, last_s = span_s
    until_s = float(frames.manifest.get("virtual_s") or np.inf)
    if first_s >= 0 and last_s <= float(frames.manifest.get("captured_s") or until_s + DRAIN_S):
        return []
    message = (
        f"packets are from {first_s:.3f} s to {last_s:.3f} s, the run ended at {until_s:.1f} s"
    )
    return [invalid("clock", message, first_s=first_s, last_s=last_s, until_s=until_s)]


def check_fallback(frames: Frames) -> list[Reason]:
    """No connection went on as TCP, by the kernel's counters, its sockets and the handshakes."""
    if not is_mptcp_run(frames):
        return []
    flows = frames.subflows
    found = _fallback_counters(frames)
    if datacenter.is_datacenter(frames.run):
        return [*found, *datacenter_checks.check_fallen_back(frames)]
    rows = frames.connections[frames.connections["is_fallback"]]
    ours = {*zip(flows["local"], flows["remote"], strict=True)}
    ours |= {(remote, local) for local, remote in ours}
    ends = set(zip(rows["host"], rows["local"], rows["remote"], strict=True))
    fallen = sorted(f"{end[1]} > {end[2]} on {end[0]}" for end in ends if end[1:] in ours)
    if fallen:
        message = f"{len(fallen)} ends of connections report that they fell back to TCP"
        found.append(invalid("fallback", message, sockets=fallen))
    plain = flows[(flows["kind"] == "tcp") & flows["is_asked"] & flows["synack_s"].notna()]
    if len(plain):
        names = (plain["local"] + " > " + plain["remote"]).tolist()
        message = f"{len(names)} connections asked for MPTCP and got a SYN/ACK without it"
        found.append(invalid("fallback", message, connections=names))
    if not (flows["is_mptcp"] & (flows["kind"] == "initial")).any():
        message = f"no MPTCP connection was captured, only {len(flows)} of TCP"
        found.append(invalid("fallback", message, connections=len(flows)))
    return found


def _fallback_counters(frames: Frames) -> list[Reason]:
    counters = frames.counters
    names = counters["counter"].astype("str")
    is_mptcp = names.str.startswith(COUNTER_PREFIX)
    if not is_mptcp.any():
        return [invalid("fallback", "the MPTCP counters are absent, fallback cannot be excluded")]
    is_sign = is_mptcp & names.str.contains(FALLBACK_WORD) & ~names.isin(FALLBACK_EXCEPTIONS)
    openers = {path["node"] for path in frames.run["topology"]["paths"]}
    flows = (frames.run.get("workload") or {}).get("flows") or []
    openers |= {flow["client"] for flow in flows if "client" in flow}
    is_elsewhere = names.isin(OPENER_COUNTERS) & ~counters["host"].isin(openers)
    is_sign = (is_sign | names.isin(FALLBACK_COUNTERS)) & ~is_elsewhere
    seen = counters[is_sign & (counters["delta"] > 0)]
    return [
        invalid(
            "fallback",
            f"{row['counter']} rose by {row['delta']} on {row['host']}",
            **{name: row[name] for name in ("counter", "delta", "host")},
        )
        for row in seen.to_dict("records")
    ]


def check_paths(frames: Frames) -> list[Reason]:
    """Every path that was to be used for long enough carried data, and no other path did.

    A path all of whose subflows are backups need not carry data, unless the mode expects it to.
    """
    first_s, last_s = metrics.download_span(frames)
    # Where the capture lacks data, the workload still says how long there was something to do.
    ended_s = (frames.manifest.get("workload") or {}).get("ended_s")
    span = (first_s, max(last_s, float(ended_s or 0.0)))
    kind = "MPTCP subflow" if is_mptcp_run(frames) else "connection"
    found = []
    for name in [path["name"] for path in frames.run["topology"]["paths"]]:
        use = ride.expected_use(frames.run, name)
        flows = frames.subflows[frames.subflows["path"] == name]
        flows = flows[flows["is_mptcp"]] if is_mptcp_run(frames) else flows
        carried = int(frames.data.loc[frames.data["path"] == name, "new_bytes"].sum())
        if name in frames.run.get("possible_use", []):
            continue  # as a script has it, by what happens: see check_path_manager
        used_s = use.seconds_within(*span) if use else 0.0
        evidence = {"path": name, "covered_s": round(used_s, 3), "new_bytes": carried}
        if use is None and carried:
            message = f"path {name} carried {carried} bytes, though the mode does not use it"
            found.append(invalid("paths", message, **evidence))
        elif used_s < EXPECTED_AFTER_S:
            continue
        elif flows.empty:
            message = f"no {kind} on path {name} in {used_s:.1f} s of coverage"
            found.append(invalid("paths", message, **evidence))
        elif carried == 0 and not _may_be_silent(frames, flows):
            message = f"path {name} carried no data in {used_s:.1f} s of coverage"
            found.append(invalid("paths", message, **evidence))
    return found


def _may_be_silent(frames: Frames, flows: pd.DataFrame) -> bool:
    """Say whether all subflows are backups, in a run that does not say when they are used."""
    return "expected_use" not in frames.run and {*flows["subflow"]} <= _backup_subflows(frames)


def check_path_manager(frames: Frames) -> list[Reason]:
    """Every step of a path manager's script that was due was carried out."""
    found = []
    for line in frames.script_log:
        if error := line.get("error"):
            what = f"the path manager could not {line['do']} {line['path']} at {line['t_s']:.3f} s"
            found.append(suspect("path_manager", f"{what}: {error}", **line))
    return found


def check_transport(frames: Frames) -> list[Reason]:
    """A baseline over TCP used no MPTCP."""
    if is_mptcp_run(frames):
        return []
    found = frames.subflows[frames.subflows["is_mptcp"]]
    if found.empty:
        return []
    message = f"{len(found)} connections used MPTCP, though the mode is TCP"
    return [invalid("transport", message, connections=len(found))]


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
            found.append(suspect("captures", f"{file}: tcpdump did not say what it dropped"))
            continue
        if row["dropped"] > 0:
            message = f"{file}: tcpdump dropped {row['dropped']} of {received} packets"
            found.append(suspect("captures", message, file=file, dropped=int(row["dropped"])))
        if (missing := int(received - row["captured"])) > 0:
            message = f"{file}: {missing} packets were still in the buffer when tcpdump ended"
            found.append(suspect("captures", message, file=file, missing=missing))
        if foreign := row["foreign_packets"]:
            message = f"{file}: {foreign} packets belong to another path of the same host"
            found.append(invalid("captures", message, file=file, foreign=int(foreign)))
    return found


def check_complete(frames: Frames) -> list[Reason]:
    """The captures hold all the bytes that the application says it read."""
    workload = frames.manifest.get("workload") or {}
    size, seen = int(workload.get("size_bytes") or 0), int(frames.delivered["bytes"].sum())
    if seen >= size or not len(frames.captures):
        return []
    message = f"the application read {size} bytes, the captures hold {seen} of them in order"
    return [suspect("complete", message, size_bytes=size, captured_bytes=seen)]


def check_congestion_control(frames: Frames) -> list[Reason]:
    """Every subflow used the congestion control that was asked, on both ends.

    In a baseline that is every connection; beside MPTCP, those of TCP are rivals with their own.
    """
    asked = (frames.run.get("mptcp") or {}).get("congestion_control")
    rows = frames.sockets[frames.sockets["subflow"] >= 0]
    rows = rows[rows["is_subflow"]] if is_mptcp_run(frames) else rows
    used = rows[rows["congestion_control"] != ""]
    wrong = used[used["congestion_control"] != asked]
    if not asked or wrong.empty:
        return []
    names = sorted({f"{row.congestion_control} on {row.host}" for row in wrong.itertuples()})
    kind = "subflows" if is_mptcp_run(frames) else "connections"
    message = f"{kind} used the congestion control {', '.join(names)}, asked was {asked}"
    return [invalid("congestion_control", message, asked=asked, used=names)]


CHECKS: dict[str, Callable[[Frames], list[Reason]]] = {
    "readable": check_readable,
    "workload": check_workload,
    "clock": check_clock,
    "fallback": check_fallback,
    "transport": check_transport,
    "paths": check_paths,
    "path_manager": check_path_manager,
    "migration": migration.check_migration,
    "model": migration.check_model,
    "middlebox": middlebox.check_middlebox,
    "interference": interference.check_interference,
    "fairness": fairness.check_fairness,
    "wifi": wifi.check_wifi,
    "radio": radio.check_radio,
    "captures": check_captures,
    "complete": check_complete,
    "delivered": link_checks.check_delivered,
    "segments": link_checks.check_segments,
    "rate": link_checks.check_rate,
    "rtt": link_checks.check_rtt,
    "base_rtt": link_checks.check_base_rtt,
    "busy_rate": link_checks.check_busy_rate,
    "lateness": link_checks.check_lateness,
    "timers": real_time.check_timers,
    "machine": real_time.check_machine,
    "congestion_control": check_congestion_control,
    "flows": datacenter_checks.check_flows,
    "subflows": datacenter_checks.check_subflows,
    "controls": datacenter_checks.check_controls,
}
