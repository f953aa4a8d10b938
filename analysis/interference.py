# SPDX-License-Identifier: Apache-2.0
"""What became of a connection with whose segments a middlebox interfered, and how that is known."""

from typing import Any

from analysis.interference_evidence import Finding, examine, passage_of
from analysis.interference_words import explain
from analysis.migration import flows_of
from analysis.reasons import Reason, invalid
from analysis.tables import Frames
from testbed import content, packet

SURVIVES, FALLS_BACK, RESET, LOST = (
    "survives",
    "falls back to TCP",
    "subflow reset",
    "connection lost",
)
OUTCOMES = (SURVIVES, FALLS_BACK, RESET, LOST)
CONTROL = "control"

# Checks that look for what here is the answer.
ANSWERS = ("fallback", "paths", "complete", "rate", "busy_rate")
PREFIX = "MPTcpExt"

# Counters of buffers and queues, which say nothing of the protocol's fate.
ASIDE = (
    "OFOQueue",
    "OFOMerge",
    "RcvWnd",
    "SndWnd",
    "RcvPruned",
    "WinProbe",
    "Blackhole",
    "MPCurrEstab",
)
SIGNS = ("Fallback", "InfiniteMap", "Csum", "MPFail", "Reset", "MPRst", "NoMPJoin", "NoAck",
         "MPTCPRetrans", "AddAddr", "EchoAdd")  # fmt: skip
GOOD_SIGNS = ("MPJoinAckRx", "MPCapableACKRX")


def is_interference(frames: Frames) -> bool:
    """Say whether the run is one of a middlebox that interferes."""
    return str((frames.run.get("workload") or {}).get("name")) == "interference"


def is_answer(frames: Frames, check: str) -> bool:
    """Say whether what a check looks for is the answer of the run, and no fault of it."""
    return check in ANSWERS and is_interference(frames)


def counters(frames: Frames) -> dict[str, dict[str, int]]:
    """Return by how much each end's counters of MPTCP rose, by their names without the prefix."""
    found: dict[str, dict[str, int]] = {}
    for row in frames.counters.to_dict("records"):
        name = str(row["counter"]).removeprefix(PREFIX)
        is_ours = str(row["counter"]).startswith(PREFIX) and not name.startswith(ASIDE)
        if is_ours and row["delta"] > 0:
            found.setdefault(str(row["host"]), {})[name] = int(row["delta"])
    return {host: dict(sorted(names.items())) for host, names in sorted(found.items())}


def proof(found: dict[str, dict[str, int]]) -> list[str]:
    """Return the counters that tell the outcome, "client DataCsumErr 1" each.

    Where none tells of trouble, those of handshakes that were completed.
    """
    for signs in (SIGNS, GOOD_SIGNS):
        told = [
            f"{host} {name} {count}"
            for host, names in found.items()
            for name, count in names.items()
            if any(sign in name for sign in signs)
        ]
        if told:
            return told
    return []


def outcome(frames: Frames) -> str:
    """Return what became of the connection, one of OUTCOMES."""
    flow = next(iter(flows_of(frames)), None)
    if flow is None or not flow["sender"] == flow["receiver"] == "complete":
        return LOST
    if any(_is_fallback(name) for names in counters(frames).values() for name in names):
        return FALLS_BACK
    return RESET if _reset_ns(frames) is not None else SURVIVES


def _is_fallback(counter: str) -> bool:
    return ("Fallback" in counter and counter != "FallbackFailed") or "InfiniteMap" in counter


def _reset_ns(frames: Frames, since_ns: int = 0) -> int | None:
    """Return when an end reset a subflow through the middlebox while the transfer went on."""
    until_ns = round(_last_read_s(frames) * 1e9)
    times = [
        seen.t_ns
        for side in frames.passage.values()
        for seen in side
        if seen.segment.flags & packet.RST and since_ns <= seen.t_ns < until_ns
    ]
    return min(times, default=None)


def _last_read_s(frames: Frames) -> float:
    return float(frames.reads["t_s"].max()) if len(frames.reads) else 0.0


def _plain_ns(frames: Frames, since_ns: int) -> int | None:
    """Return when the last of the ends that counted a fallback first sent a segment without MPTCP.

    None if one of them sent no such segment.
    """
    ends = [end for end, names in counters(frames).items() if any(map(_is_fallback, names))]
    times = [_first_plain_ns(frames, end, since_ns) for end in ends]
    known = [time for time in times if time is not None]
    return max(known) if known and len(known) == len(times) else None


def _first_plain_ns(frames: Frames, end: str, since_ns: int) -> int | None:
    port = frames.run["workload"]["server"]["port"]
    times = (
        seen.t_ns
        for seen in frames.passage.get(end, [])
        if (seen.segment.source_port == port) == (end == "server")
        and seen.t_ns >= since_ns
        and not seen.segment.flags & packet.RST
        and not any(option.kind == packet.MPTCP for option in seen.segment.options)
    )
    return next(times, None)


def outcome_s(frames: Frames, found: str, first_ns: int | None) -> float | None:
    """Return how long the outcome took, from the first segment that came out changed.

    Until a subflow was reset, or until the ends that counted a fallback had sent a segment without
    MPTCP; None for what survives.
    """
    if first_ns is None or found == SURVIVES:
        return None
    reset_ns, plain_ns = _reset_ns(frames, first_ns), _plain_ns(frames, first_ns)
    when_ns = reset_ns if found == RESET else plain_ns
    return None if when_ns is None else (when_ns - first_ns) / 1e9


def evidence(frames: Frames) -> Finding:
    """Return what the captures on both sides of the middlebox show of its behaviour."""
    workload = frames.run["workload"]
    client, server = (frames.passage.get(side, []) for side in ("client", "server"))
    passage = passage_of(client, server, workload["server"]["port"])
    return examine(passage, workload["evidence"])


def repeated_bytes(frames: Frames) -> int:
    """Return how much payload was sent to the middlebox again under other sequence numbers.

    TCP's retransmissions keep their numbers; to a receiver without MPTCP this is new data.
    """
    port = frames.run["workload"]["server"]["port"]
    known: dict[tuple[int, bytes], int] = {}
    repeated = 0
    for side, is_server in (("server", True), ("client", False)):
        for _, one in frames.passage.get(side, []):
            if one.payload and (one.source_port == port) == is_server:
                first = known.setdefault((one.target_port, one.payload), one.seq)
                repeated += len(one.payload) if first != one.seq else 0
    return repeated


def is_right(frames: Frames) -> bool:
    """Say whether the file arrived as it was sent."""
    flow, workload = next(iter(flows_of(frames)), None), frames.run["workload"]
    if flow is None or flow["receiver"] != "complete":
        return False
    known = content.sha256(workload["server"]["seed"], workload["file_bytes"])
    return bool(flow["received_sha256"] == known)


def summary(frames: Frames) -> dict[str, Any]:
    """Return the cell of the table; {} for any other run."""
    if not is_interference(frames):
        return {}
    workload, found, seen = frames.run["workload"], outcome(frames), evidence(frames)
    told = counters(frames)
    flow = next(iter(flows_of(frames)), {})
    transfer_s = _last_read_s(frames) if found != LOST else None
    return {
        # Of an upload, too; and of no stream that was not the one that was sent.
        "goodput_mbps": workload["file_bytes"] * 8 / transfer_s / 1e6 if transfer_s else None,
        "behaviour": workload["behaviour"],
        "outcome": found,
        "outcome_s": outcome_s(frames, found, seen.first_ns),
        "counters": told,
        "proof": proof(told),
        "sha256_ok": is_right(frames),
        "sent_bytes": workload["file_bytes"],
        "received_bytes": flow.get("received_bytes"),
        "repeated_bytes": repeated_bytes(frames),
        "transfer_s": transfer_s,
        "subflows": 1 + sum(names.get("MPJoinAckRx", 0) for names in told.values()),
        "evidence": seen.said,
        "explanation": explain(workload["behaviour"], found),
        "ends": {end: flow.get(end) for end in ("sender", "receiver")},
        "notes": [f"{found} ({', '.join(proof(told))})"],
    }


def check_interference(frames: Frames) -> list[Reason]:
    """The middlebox did what it was to do, by the captures on both of its sides."""
    if not is_interference(frames):
        return []
    seen = evidence(frames)
    found = []
    if not seen.is_met:
        message = f"the middlebox did not behave as planned: {seen.said}"
        found.append(invalid("interference", message))
    name, ended = frames.run["workload"]["behaviour"], outcome(frames)
    if name.startswith(CONTROL) and (ended != SURVIVES or not is_right(frames)):
        found.append(invalid("interference", f"without interference the outcome is: {ended}"))
    return found
