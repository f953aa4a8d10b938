# SPDX-License-Identifier: Apache-2.0
"""How much of a connection a middlebox got to see, and what the application noticed."""

import errno
import os
from typing import Any

import numpy as np
import pandas as pd

from analysis.inspection import captured_bytes, leaving, logged_bytes
from analysis.migration import fate, flows_of, is_whole
from analysis.reasons import Reason, invalid
from analysis.tables import Frames
from testbed import content

# Until when what the server had given to the old subflow has been sent.
SETTLED_S = 0.5
JOINED = "subflow_established"
AROUND_S = 3.0
LEAST_SHARE = 0.99
# What is on its way between the rule that counts and the interface.
LOG_TOLERANCE = 0.001


def is_middlebox_run(frames: Frames) -> bool:
    """Say whether the run leads a connection through a middlebox."""
    return str((frames.run.get("workload") or {}).get("name")) == "middlebox"


def changed_s(frames: Frames) -> float | None:
    """Return when the new subflow was established."""
    times = [line["t_s"] for line in frames.script_log if line.get("event") == JOINED]
    return float(times[0]) if times else None


def fraction_via(
    frames: Frames, first_s: float = 0.0, last_s: float = float("inf")
) -> float | None:
    """Return the share of the payload of a span that came through the middlebox."""
    rows = frames.data[(frames.data["t_s"] >= first_s) & (frames.data["t_s"] < last_s)]
    total = int(rows["new_bytes"].sum())
    mine = int(rows.loc[rows["subflow"].isin(_through(frames)), "new_bytes"].sum())
    return mine / total if total else None


def _through(frames: Frames) -> set[int]:
    """Return the subflows to the middlebox's address."""
    address, flows = frames.run["workload"]["middlebox_address"], frames.subflows
    return set(flows.loc[flows["remote"].str.startswith(f"{address}:"), "subflow"])


def longest_gap_s(frames: Frames, first_s: float, last_s: float) -> float | None:
    """Return the longest time between two reads that begins in a span."""
    times = frames.reads["t_s"].to_numpy()
    gaps = np.diff(times)[(times[:-1] >= first_s) & (times[:-1] <= last_s)]
    return float(gaps.max()) if gaps.size else None


def summary(frames: Frames) -> dict[str, Any]:
    """Return the scene in a few numbers; {} for a run without a middlebox."""
    if not is_middlebox_run(frames):
        return {}
    workload, at_s = frames.run["workload"], changed_s(frames)
    planned_s = float(workload["at_s"])
    flows = flows_of(frames)
    gap_s = longest_gap_s(frames, planned_s, planned_s + AROUND_S)
    return {
        "scene": workload["scene"],
        "middlebox": workload["middlebox"],
        "new_subflow": fate_of_subflow(frames),
        "gap_s": gap_s,
        "usual_gap_s": longest_gap_s(frames, planned_s - AROUND_S, planned_s),
        "fraction_via_middlebox_before": fraction_via(frames, last_s=planned_s),
        "fraction_via_middlebox_after": None
        if at_s is None
        else fraction_via(frames, at_s + SETTLED_S),
        "middlebox_bytes": {node: sum(seen.values()) for node, seen in frames.inspected.items()},
        "middlebox_payload_bytes": passed_payload(frames),
        "segments": segments_seen(frames),
        "inspector_error": inspector_error(frames),
        "sha256_ok": bool(flows) and all(is_whole(flow) for flow in flows),
        "fates": {flow["name"]: fate(frames, flow) for flow in flows},
        "rtt_before_ms": handshake_ms(frames, is_first=True),
        "rtt_after_ms": handshake_ms(frames, is_first=False),
        "handover_gap_max_s": gap_s,
    }


def fate_of_subflow(frames: Frames) -> str:
    """Say what became of the new subflow: established, refused, unanswered, not opened."""
    if changed_s(frames) is not None:
        return "established"
    for line in frames.script_log:
        if line.get("do") == "add_subflow" and "error" in line:
            return f"not opened: {line['error']}"
        if line.get("event") == "subflow_closed" and line.get("errno"):
            what = os.strerror(line["errno"]).lower()
            return "refused" if line["errno"] == errno.ECONNREFUSED else what
    return "unanswered"


def _left(frames: Frames, node: str) -> pd.DataFrame:
    """Return the packets that left a middlebox, as the capture at its interface has them."""
    workload, links = frames.run["workload"], frames.run["topology"]["links"]
    own = {link[f"{side}_address"] for link in links for side in "ab" if link[side] == node}
    table = frames.passages[node]
    return table[leaving(table, own, workload["middlebox_address"])]


def passed_payload(frames: Frames) -> dict[str, int]:
    """Return the payload that each captured middlebox sent on towards the client."""
    client = frames.run["topology"]["paths"][0]["addresses"]
    last = {node: _left(frames, node) for node in frames.passages}
    if len(last) > 1:  # the second one of a chain sends to the first one
        client = [*client, frames.run["workload"]["middlebox_address"]]
    return {
        node: int(rows.loc[rows["target"].isin(client), "payload_bytes"].sum())
        for node, rows in last.items()
    }


def segments_seen(frames: Frames) -> list[str] | None:
    """Return the segment list of what passed the first middlebox towards the server.

    None if nothing did, or not all of it had the same list.
    """
    table = frames.passages.get("m1")
    if table is None:
        return None
    lists = table.loc[table["target"] == frames.run["workload"]["middlebox_address"], "segments"]
    seen = list(lists.unique())
    return seen[0].split() if len(seen) == 1 and seen[0] else None


def inspector_error(frames: Frames) -> float | None:
    """Return by how much an inspector's last log and the capture differ, as a fraction."""
    found = []
    for node, log in logged_bytes(frames.inspections).groupby("node"):
        table = frames.passages.get(str(node))
        if table is None or not log["bytes"].iloc[-1]:
            continue
        # What a proxy counts arrives there or begins there; others count what they send on.
        is_proxy = frames.run["workload"]["middlebox"] == "proxy"
        rows = table if is_proxy else _left(frames, str(node))
        seen = captured_bytes(rows, log["t_s"].iloc[-1:])[0]
        found.append(abs(int(log["bytes"].iloc[-1]) - int(seen)) / max(int(seen), 1))
    return max(found, default=None)


def handshake_ms(frames: Frames, *, is_first: bool) -> float | None:
    """Return how long the handshake of the first or the last subflow took, SYN to SYN/ACK.

    The last one's has the download's own queue on its way.
    """
    known = frames.subflows[frames.subflows["is_mptcp"]].sort_values("syn_s")
    if known.empty:
        return None
    value = known.iloc[0 if is_first else -1]["handshake_rtt_ms"]
    return None if pd.isna(value) else float(value)


def bytes_over_time(frames: Frames) -> pd.DataFrame:
    """Return what passed the middlebox and the client's link by then: t_s, link, bytes.

    "m1 log" is what the inspector at m1 had logged of it; a proxy's log has what arrived, too.
    """
    table = frames.link_samples
    ways = (("access", "b_to_a"), ("m1", "a_to_b"), ("m2", "a_to_b"))
    parts = [table[(table["link"] == link) & (table["direction"] == way)] for link, way in ways]
    rows = pd.concat(parts)
    rows = rows[["t_s", "link", "delivered_bytes"]].astype({"link": "str"})
    if frames.run["workload"]["middlebox"] != "proxy":
        log = logged_bytes(frames.inspections)
        log = log.assign(link=log["node"] + " log", delivered_bytes=log["bytes"])
        rows = pd.concat([rows, log[rows.columns]])
    return rows.reset_index(drop=True)


def check_middlebox(frames: Frames) -> list[Reason]:
    """The connection was led as the scene has it, the middlebox saw it, and no byte was lost."""
    if not is_middlebox_run(frames):
        return []
    found = _check_way(frames)
    for flow in flows_of(frames):
        if not is_whole(flow) or flow["received_sha256"] != content.sha256(
            frames.run["workload"]["server"]["seed"], flow["received_bytes"]
        ):
            message = f"the {flow['name']} did not arrive whole: {fate(frames, flow)}"
            found.append(invalid("middlebox", message))
    return found + _check_counts(frames) + _check_segments(frames)


def _check_way(frames: Frames) -> list[Reason]:
    """What came later passed the middlebox, or no longer did.

    A proxy's connections end there: nobody else can take a subflow of them, nor a proxy one of
    others. That such a subflow is refused is what the run is to show.
    """
    workload, at_s = frames.run["workload"], changed_s(frames)
    became = fate_of_subflow(frames)
    if workload["middlebox"] == "proxy":
        if became == "refused":
            return []
        message = f"the new subflow was to be refused, for a proxy is no part of it, but: {became}"
        return [invalid("middlebox", message)]
    share = None if at_s is None else fraction_via(frames, at_s + SETTLED_S)
    if share is None:
        fates = [f"the {flow['name']} is {fate(frames, flow)}" for flow in flows_of(frames)]
        said = "carried nothing" if at_s is not None else f"was not established ({became})"
        message = f"the new subflow {said}; over the old one {', '.join(fates)}"
        return [invalid("middlebox", message)]
    wanted = 1 - share if workload["is_left"] else share
    if wanted >= LEAST_SHARE:
        return []
    message = f"{share:.1%} of the later payload passed the middlebox m1"
    return [invalid("middlebox", message, fraction=share)]


def _check_counts(frames: Frames) -> list[Reason]:
    """The middlebox counted, and sent on, no less than what the client got from its address."""
    data = frames.data[frames.data["subflow"].isin(_through(frames))]
    got, found = int(data["new_bytes"].sum()), []
    counts = {"counted": sum(frames.inspected.get("m1", {}).values())}
    if "m1" in frames.passages:
        counts["sent on"] = passed_payload(frames)["m1"]
    for what, size in counts.items():
        if size < got:
            message = f"the client got {got} bytes from the middlebox m1, which {what} {size}"
            found.append(invalid("middlebox", message, got=got, counted=size))
    difference = inspector_error(frames)
    if difference is not None and difference > LOG_TOLERANCE:
        message = f"the inspector's log and the capture at its interface differ by {difference:.1%}"
        found.append(invalid("middlebox", message, fraction=difference))
    return found


def _check_segments(frames: Frames) -> list[Reason]:
    """What passed the middlebox had the segment list that was asked for."""
    asked, seen = frames.run["workload"]["segments"], segments_seen(frames)
    if asked is None or seen == asked or not frames.passages:
        return []
    message = f"what passed m1 had the segment list {seen}, asked was {asked}"
    return [invalid("middlebox", message)]
