# SPDX-License-Identifier: Apache-2.0
"""What a migration did to the transfers, and how it compares with the model of pre-copy."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.metrics import bin_edges, binned
from analysis.reasons import Reason, invalid
from analysis.tables import Frames
from testbed import content
from testbed.precopy import PAGE_BYTES, precopy_of

BIN_S = 0.1
# A silence that begins so long after the machine goes on is still the one of the stop: what had
# arrived before is read at once. Later ones are of congestion control, which finds its rate again.
AT_ONCE_S = 0.1
SETTLED_S, SETTLING_S = 1.0, 5.0
CLIENT_PORT = 7001


def is_migration(frames: Frames) -> bool:
    """Say whether the run moves a virtual machine."""
    return str((frames.run.get("workload") or {}).get("name")) == "migrate"


def story_of(frames: Frames) -> dict[str, Any]:
    """Return what happened when, {} if the run did not come so far."""
    return dict((frames.manifest.get("workload") or {}).get("migration") or {})


def flows_of(frames: Frames) -> list[dict[str, Any]]:
    """Return what both ends say of each transfer."""
    return list((frames.manifest.get("workload") or {}).get("flows") or [])


def transfers(frames: Frames, end_s: float) -> pd.DataFrame:
    """Return what each receiver's application read per bin: flow, t_s, bytes, goodput_mbps."""
    edges = bin_edges(end_s, BIN_S)
    parts = [pd.DataFrame({"flow": [], "t_s": [], "bytes": [], "goodput_mbps": []})]
    for flow, rows in frames.reads.groupby("flow"):
        counts = binned(rows["t_s"].to_numpy(), rows["bytes"].to_numpy(), edges)
        mbps = counts * 8 / BIN_S / 1e6
        columns = {"t_s": edges[:-1], "bytes": counts.astype(np.int64), "goodput_mbps": mbps}
        parts.append(pd.DataFrame({"flow": flow, **columns}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def rounds(frames: Frames) -> pd.DataFrame:
    """Return the rounds of pre-copy, each with what the model says of it."""
    predicted = _model(frames).rounds
    rows = []
    for number, one in enumerate(story_of(frames).get("rounds") or []):
        size, seconds = predicted[number] if number < len(predicted) else (np.nan, np.nan)
        rows.append({"round": number + 1, **one, "model_bytes": size, "model_s": seconds})
    columns = ["round", "bytes", "left_bytes", "started_s", "ended_s", "model_bytes", "model_s"]
    return pd.DataFrame(rows, columns=columns)


def _model(frames: Frames) -> Any:
    wan = next(one for one in frames.run["topology"]["links"] if one["name"] == "wan")
    return precopy_of(frames.run["workload"]).predict(2 * wan["a_to_b"]["one_way_delay_s"])


def gaps_s(frames: Frames, flow: str, story: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the time without a read around the stop, and the longest one of what follows.

    None if nothing was read a while after the stop, or the machine did not move.
    """
    stopped_s, resumed_s = story.get("stopped_s"), story.get("resumed_s")
    times = frames.reads.loc[frames.reads["flow"] == flow, "t_s"].to_numpy()
    if stopped_s is None or resumed_s is None or not (times > resumed_s + SETTLED_S).any():
        return None, None
    gaps, starts = np.diff(times), times[:-1]
    is_stop = (times[1:] >= stopped_s) & (starts <= resumed_s + AT_ONCE_S)
    is_later = (starts > resumed_s + AT_ONCE_S) & (starts <= resumed_s + SETTLING_S)
    return float(gaps[is_stop].max(initial=0.0)), float(gaps[is_later].max(initial=0.0))


def is_whole(flow: dict[str, Any]) -> bool:
    """Say whether a stream ended and every byte of it arrived once, in order."""
    is_same = flow["sent_sha256"] == flow["received_sha256"]
    return bool(is_same and flow["receiver"] == flow["sender"] == "complete")


def fate(frames: Frames, flow: dict[str, Any]) -> str:
    """Say what became of a connection, in a few words."""
    if is_whole(flow):
        return "complete"
    if flow["receiver"] == flow["sender"] == "cut off":
        times = frames.reads.loc[frames.reads["flow"] == flow["name"], "t_s"]
        return f"silent since {times.max():.3f} s" if len(times) else "silent"
    how = {flow["receiver"], flow["sender"]} - {"complete", "cut off"}
    return ", ".join(sorted(how)) or "ended early"


def summary(frames: Frames) -> dict[str, Any]:
    """Return the migration in a few numbers; {} for a run that moves no machine."""
    if not is_migration(frames):
        return {}
    story, flows, model = story_of(frames), flows_of(frames), _model(frames)
    none = (None, None)
    gaps = {flow["name"]: gaps_s(frames, flow["name"], story) for flow in flows}
    stopped_s, resumed_s = story.get("stopped_s"), story.get("resumed_s")
    return {
        "variant": frames.run["workload"]["variant"],
        "gap_s": gaps.get("download", none)[0],
        "upload_gap_s": gaps.get("upload", none)[0],
        "settling_gap_s": gaps.get("download", none)[1],
        "stop_and_copy_s": _length_s(stopped_s, resumed_s),
        "migration_s": _length_s(story.get("started_s"), resumed_s),
        "precopy_rounds": len(story.get("rounds") or []),
        "model_rounds": len(model.rounds),
        "model_migration_s": model.total_s,
        "sha256_ok": bool(flows) and all(is_whole(flow) for flow in flows),
        "fates": {flow["name"]: fate(frames, flow) for flow in flows},
        "rtt_before_ms": _rtt_ms(frames, story.get("started_s"), stopped_s),
        "rtt_after_ms": _rtt_ms(frames, resumed_s, story.get("ending_s"), SETTLED_S),
        "phases": {name: story.get(name) for name in PHASES},
        "outcome": story.get("outcome"),
        "freezer": story.get("freezer"),
        "handover_gap_max_s": gaps.get("download", none)[0],
        "goodput_mbps": goodput_mbps(frames, "download", story.get("ending_s")),
    }


def _length_s(first_s: float | None, last_s: float | None) -> float | None:
    return None if first_s is None or last_s is None else last_s - first_s


PHASES = ("started_s", "stopped_s", "resumed_s", "tunnel_removed_s", "ending_s", "failed_s")


def _rtt_ms(
    frames: Frames, first_s: float | None, last_s: float | None, after_s: float = 0.0
) -> float | None:
    """Return the median of the smoothed RTT from the machine to the client, while data arrived."""
    reads = frames.reads.loc[frames.reads["flow"] == "download", "t_s"].to_numpy()
    if first_s is None or last_s is None or not ((reads > first_s) & (reads < last_s)).any():
        return None
    rows = frames.sockets
    is_ours = (rows["host"] == frames.run["workload"]["machine"]) & (rows["state"] == "ESTAB")
    is_ours &= rows["remote"].str.endswith(f":{CLIENT_PORT}") & (rows["rtt_ms"] > 0)
    values = rows.loc[is_ours & rows["t_s"].between(first_s + after_s, last_s), "rtt_ms"]
    return float(values.median()) if len(values) else None


def goodput_mbps(frames: Frames, flow: str, ending_s: float | None) -> float:
    """Return what a transfer brought per time until its last byte, or until it was to end.

    The later of both counts: one that falls silent at the move is not as fast as it was before.
    """
    rows = frames.reads[frames.reads["flow"] == flow]
    last_s = max(rows["t_s"].max(), ending_s or 0.0) if len(rows) > 1 else 0.0
    seconds = last_s - rows["t_s"].min() if len(rows) > 1 else 0.0
    return float(rows["bytes"].sum() * 8 / seconds / 1e6) if seconds > 0 else 0.0


def check_migration(frames: Frames) -> list[Reason]:
    """The machine moved, and the connections fared as the variant has it, without a wrong byte."""
    if not is_migration(frames):
        return []
    story, found = story_of(frames), []
    workload = frames.run["workload"]
    outcome = story.get("outcome")
    if outcome is None:
        when = "had not ended" if "started_s" in story else "had not begun"
        found.append(invalid("migration", f"the migration {when} when the run's time was up"))
    elif outcome == "failed" and workload["on_limit"] != "abort":
        found.append(invalid("migration", f"the machine did not move: {story.get('why')}"))
    for flow in flows_of(frames):
        found += _check_flow(frames, flow, is_moved=outcome == "moved")
    return found


def _check_flow(frames: Frames, flow: dict[str, Any], *, is_moved: bool) -> list[Reason]:
    workload, found = frames.run["workload"], []
    seed = next(one["seed"] for one in workload["flows"] if one["name"] == flow["name"])
    size, name = flow["received_bytes"], flow["name"]
    if flow["received_sha256"] != content.sha256(seed, size):
        message = f"the {size} bytes that the {name} brought are not the first ones that were sent"
        found.append(invalid("migration", message, flow=name, bytes=size))
    if workload["must_survive"] and not is_whole(flow):
        message = f"the {name} did not survive: {fate(frames, flow)}"
        found.append(invalid("migration", message, flow=name))
    if is_moved and not workload["must_survive"] and is_whole(flow):
        message = f"the {name} survived the loss of its address, which cannot be"
        found.append(invalid("migration", message, flow=name))
    return found


def check_model(frames: Frames) -> list[Reason]:
    """Each round left what its length and the dirty rate say: nothing was made up."""
    if not is_migration(frames):
        return []
    plan, found = precopy_of(frames.run["workload"]), []
    for number, one in enumerate(story_of(frames).get("rounds") or [], 1):
        asked = plan.left_bytes(one["ended_s"] - one["started_s"])
        if abs(one["left_bytes"] - asked) > PAGE_BYTES:
            message = f"round {number} left {one['left_bytes']} bytes, its length makes {asked}"
            found.append(invalid("model", message, round=number))
    return found
