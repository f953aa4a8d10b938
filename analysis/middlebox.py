# SPDX-License-Identifier: Apache-2.0
"""How much of a connection a middlebox got to see, and what the application noticed."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.migration import fate, flows_of, is_whole
from analysis.reasons import Reason, invalid
from analysis.tables import Frames
from testbed import content

# Until when what the server had given to the old subflow has been sent.
SETTLED_S = 0.5
JOINED = "subflow_established"
AROUND_S = 3.0
LEAST_SHARE = 0.99


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
        "gap_s": gap_s,
        "usual_gap_s": longest_gap_s(frames, planned_s - AROUND_S, planned_s),
        "fraction_via_middlebox_before": fraction_via(frames, last_s=planned_s),
        "fraction_via_middlebox_after": None
        if at_s is None
        else fraction_via(frames, at_s + SETTLED_S),
        "middlebox_bytes": {node: sum(seen.values()) for node, seen in frames.inspected.items()},
        "sha256_ok": bool(flows) and all(is_whole(flow) for flow in flows),
        "fates": {flow["name"]: fate(frames, flow) for flow in flows},
        "rtt_before_ms": handshake_ms(frames, is_first=True),
        "rtt_after_ms": handshake_ms(frames, is_first=False),
        "handover_gap_max_s": gap_s,
    }


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
    """Return what passed the middlebox and the client's link by then: t_s, link, bytes."""
    table = frames.link_samples
    ways = (("access", "b_to_a"), ("m1", "a_to_b"), ("m2", "a_to_b"))
    parts = [table[(table["link"] == link) & (table["direction"] == way)] for link, way in ways]
    rows = pd.concat(parts)
    return rows[["t_s", "link", "delivered_bytes"]].reset_index(drop=True).astype({"link": "str"})


def check_middlebox(frames: Frames) -> list[Reason]:
    """The connection was led as the scene has it, the middlebox saw it, and no byte was lost."""
    if not is_middlebox_run(frames):
        return []
    found, workload = [], frames.run["workload"]
    at_s = changed_s(frames)
    share = None if at_s is None else fraction_via(frames, at_s + SETTLED_S)
    if share is None:
        found.append(
            invalid("middlebox", "the new subflow was not established, or carried nothing")
        )
    else:
        wanted = 1 - share if workload["is_left"] else share
        if wanted < LEAST_SHARE:
            message = f"{share:.1%} of the later payload passed the middlebox m1"
            found.append(invalid("middlebox", message, fraction=share))
    for flow in flows_of(frames):
        if not is_whole(flow) or flow["received_sha256"] != content.sha256(
            workload["server"]["seed"], flow["received_bytes"]
        ):
            message = f"the {flow['name']} did not arrive whole: {fate(frames, flow)}"
            found.append(invalid("middlebox", message))
    return found + _check_counts(frames)


def _check_counts(frames: Frames) -> list[Reason]:
    """The middlebox counted no less than what the client got from its address."""
    data = frames.data[frames.data["subflow"].isin(_through(frames))]
    got, counted = int(data["new_bytes"].sum()), sum(frames.inspected.get("m1", {}).values())
    if counted >= got:
        return []
    message = f"the client got {got} bytes from the middlebox m1, which counted {counted}"
    return [invalid("middlebox", message, got=got, counted=counted)]
