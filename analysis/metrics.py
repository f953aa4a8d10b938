# SPDX-License-Identifier: Apache-2.0
"""Measure a run: tables in, tables or numbers out.

Throughput is IP bytes at an interface per time; goodput is application bytes that the receiver
could read, each counted once; a handover gap is the longest time without goodput around a change.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.ride import Coverage
from analysis.tables import KEYS, RX, Frames

BIN_S = 0.5
# A gap belongs to a change of coverage if it begins from this long before to this long after it:
# a queue drains first, and what was lost blocks the rest only when the reader reaches it.
BEFORE_S, AFTER_S = 0.5, 10.0
STALL_S = 1.0  # a gap that a user of the application would notice


def bin_edges(end_s: float, bin_s: float = BIN_S) -> npt.NDArray[np.float64]:
    """Return the edges of equal bins from 0 to at least `end_s`."""
    count = max(int(np.ceil(end_s / bin_s - 1e-9)), 1)
    return np.linspace(0.0, count * bin_s, count + 1)


def throughput(packets: pd.DataFrame, end_s: float, bin_s: float = BIN_S) -> pd.DataFrame:
    """Return IP bytes and throughput per host, path, direction and bin.

    Args:
        packets: Frames.packets.
        end_s: end of the run; the last bin may reach past it.

    Returns:
        Key columns with t_s the beginning of the bin, direction, ip_bytes, throughput_mbps
        (Mbit/s). Empty bins are rows with 0.
    """
    edges = bin_edges(end_s, bin_s)
    groups = packets.groupby(["run_id", "host", "path", "direction"], observed=True, sort=True)
    parts = []
    for (run_id, host, path, direction), part in groups:
        counts, _ = np.histogram(part["t_s"], edges, weights=part["ip_bytes"])
        parts.append(pd.DataFrame({
            "run_id": run_id, "t_s": edges[:-1], "host": host, "path": path, "subflow": -1,
            "direction": direction, "ip_bytes": counts.astype(np.int64),
            "throughput_mbps": counts * 8 / bin_s / 1e6,
        }))  # fmt: skip
    columns = [*KEYS, "direction", "ip_bytes", "throughput_mbps"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def goodput(delivered: pd.DataFrame, end_s: float, bin_s: float = BIN_S) -> pd.DataFrame:
    """Return application bytes that became readable, and goodput, per bin.

    Args:
        delivered: what streams.delivered_data returned.
    """
    edges = bin_edges(end_s, bin_s)
    counts, _ = np.histogram(delivered["t_s"], edges, weights=delivered["bytes"])
    names = {name: delivered[name].iloc[0] if len(delivered) else "" for name in ("run_id", "host")}
    return pd.DataFrame({
        **names, "t_s": edges[:-1], "path": "", "subflow": -1, "bytes": counts.astype(np.int64),
        "goodput_mbps": counts * 8 / bin_s / 1e6,
    })[[*KEYS, "bytes", "goodput_mbps"]]  # fmt: skip


def bytes_per_path(frames: Frames) -> pd.DataFrame:
    """Return per path what was received: one row per path of the topology, zeros included.

    Returns:
        path, ip_bytes, payload_bytes, new_bytes, duplicate_bytes (retransmitted by TCP though
        they had arrived), reinjected_bytes (sent again by MPTCP though they had arrived).
    """
    paths = [path["name"] for path in frames.run["topology"]["paths"]]
    received = frames.packets[frames.packets["direction"] == RX]
    totals = received.groupby("path", observed=True)[["ip_bytes", "payload_bytes"]].sum()
    stream = frames.data.groupby("path", observed=True)[["new_bytes", "reinjected_bytes"]].sum()
    for table in (totals, stream):
        table.index = table.index.astype("str")
    table = totals.join(stream).reindex(paths).fillna(0).astype("int64")
    again = table["payload_bytes"] - table["new_bytes"] - table["reinjected_bytes"]
    table.insert(3, "duplicate_bytes", again)
    return table.rename_axis("path").reset_index()


@dataclass(frozen=True)
class Gap:
    """A time without data, from the last before it to the first after it, seconds."""

    start_s: float = 0.0
    length_s: float = 0.0


def longest_gap(t_s: npt.NDArray[np.float64], first_s: float, last_s: float) -> Gap:
    """Return the longest silence that begins in [first_s, last_s).

    Args:
        t_s: times of data, ascending. Before the first and after the last is no silence.
    """
    if t_s.size < 2:
        return Gap()
    begin, length = t_s[:-1], np.diff(t_s)
    is_in = (begin >= first_s) & (begin < last_s)
    if not is_in.any():
        return Gap()
    place = int(np.argmax(np.where(is_in, length, -1.0)))
    return Gap(float(begin[place]), float(length[place]))


def handover_gaps(
    data: pd.DataFrame, delivered: pd.DataFrame, coverages: list[Coverage]
) -> pd.DataFrame:
    """Return the longest silences around each change of coverage, and in the whole run.

    Args:
        data: what streams.received_data returned; packets without new bytes do not end a silence.
        delivered: what streams.delivered_data returned.
        coverages: of the paths that come and go.

    Returns:
        run_id, t_s (of the change), host, path, subflow, change ("gained", "lost" or "overall"),
        gap_received_s: longest silence of new data on any path, gap_delivered_s: longest time
        without goodput, and gap_start_s of the latter.
    """
    arrivals = data.loc[data["new_bytes"] > 0, "t_s"].to_numpy()
    usable = delivered["t_s"].to_numpy()
    if not usable.size:
        return pd.DataFrame(columns=[*KEYS, *GAP_COLUMNS])
    changes = sorted(
        (t_s, coverage.path, change)
        for coverage in coverages
        for change, t_s in coverage.changes()
        if usable[0] < t_s < usable[-1]
    )
    times = [t_s for t_s, _, _ in changes] + [np.inf]
    rows = [("overall", np.nan, "", 0.0, np.inf)]
    for (t_s, path, change), following in zip(changes, times[1:], strict=True):
        rows.append((change, t_s, path, t_s - BEFORE_S, min(t_s + AFTER_S, following)))
    return _gap_rows(rows, arrivals, usable, delivered.iloc[0])


GAP_COLUMNS = ["change", "gap_received_s", "gap_delivered_s", "gap_start_s"]


def _gap_rows(
    spans: list[tuple[str, float, str, float, float]],
    arrivals: npt.NDArray[np.float64],
    usable: npt.NDArray[np.float64],
    keys: pd.Series,
) -> pd.DataFrame:
    rows = []
    for change, t_s, path, first_s, last_s in spans:
        gap = longest_gap(usable, first_s, last_s)
        received = longest_gap(arrivals, first_s, last_s).length_s
        key = (keys["run_id"], t_s, keys["host"], path, -1)
        rows.append((*key, change, received, gap.length_s, gap.start_s))
    return pd.DataFrame(rows, columns=[*KEYS, *GAP_COLUMNS])


def stalls(delivered: pd.DataFrame, least_s: float = STALL_S) -> list[Gap]:
    """Return every time of at least `least_s` in which the application could read nothing new."""
    t_s = delivered["t_s"].to_numpy()
    length = np.diff(t_s)
    places = np.flatnonzero(length >= least_s)
    return [Gap(float(t_s[place]), float(length[place])) for place in places]


def coverage_use(data: pd.DataFrame, coverages: list[Coverage], end_s: float) -> pd.DataFrame:
    """Return what each time of coverage brought.

    Args:
        data: what streams.received_data returned.
        coverages: of the paths that come and go.
        end_s: end of the download; later coverage is left out.

    Returns:
        Key columns with t_s the beginning of the coverage, station (from 1), covered_s, new_bytes
        over that path in that time.
    """
    rows = []
    for coverage in coverages:
        mine = data[data["path"] == coverage.path]
        for number, (first_s, last_s) in enumerate(coverage.spans, 1):
            if first_s < end_s:
                is_in = mine["t_s"].between(first_s, last_s, inclusive="left")
                size = int(mine.loc[is_in, "new_bytes"].sum())
                covered_s = min(last_s, end_s) - first_s
                rows.append(("", first_s, "", coverage.path, -1, number, covered_s, size))
    table = pd.DataFrame(rows, columns=[*KEYS, "station", "covered_s", "new_bytes"])
    for name in ("run_id", "host"):
        table[name] = str(data[name].iloc[0]) if len(data) else ""
    return table


def round_trip_times(sockets: pd.DataFrame) -> pd.DataFrame:
    """Return smoothed RTT, its variation, minimum and cwnd of every subflow over time."""
    columns = ["rtt_ms", "rttvar_ms", "min_rtt_ms", "rto_ms", "cwnd_packets"]
    rows = sockets[(sockets["subflow"] >= 0) & (sockets["rtt_ms"] > 0)]
    return rows[[*KEYS, *columns]].reset_index(drop=True)


def retransmissions(sockets: pd.DataFrame) -> pd.DataFrame:
    """Return what each host sent and retransmitted on each subflow, by its last sample.

    Returns:
        run_id, t_s (of the last sample), host, path, subflow, sent_bytes, retransmitted_bytes,
        retransmitted_packets, rtos, retransmitted_fraction (of the bytes sent).
    """
    rows = sockets[(sockets["subflow"] >= 0) & sockets["sent_bytes"].notna()]
    last = rows.sort_values("t_s", kind="stable").groupby(
        ["host", "subflow"], observed=True, as_index=False, sort=True
    ).tail(1)  # fmt: skip
    columns = ["sent_bytes", "retransmitted_bytes", "retransmitted_packets", "rtos"]
    last = last[[*KEYS, *columns]].reset_index(drop=True)
    sent = last["sent_bytes"].where(last["sent_bytes"] > 0)
    return last.assign(retransmitted_fraction=(last["retransmitted_bytes"] / sent).fillna(0.0))


def download_span(frames: Frames) -> tuple[float, float]:
    """Return when the download began and ended, seconds since the run's start.

    It begins when the workload says, else with the first SYN. It ends when the last byte could be
    read by the application; where the capture lacks bytes, when the workload says. A program may
    take long to exit: that is not download time.
    """
    workload = frames.manifest.get("workload") or {}
    started, ended = workload.get("started_s"), workload.get("ended_s")
    if started is None:
        started = frames.subflows["syn_s"].min() if len(frames.subflows) else 0.0
    read = int(frames.delivered["bytes"].sum())
    if read and (ended is None or read >= int(workload.get("size_bytes") or 0)):
        ended = frames.delivered["t_s"].max()
    return float(started), float(started if ended is None else ended)


def run_end_s(frames: Frames) -> float:
    """Return the end of the run, seconds since its start: the download's, or what came after."""
    last_s = float(frames.packets["t_s"].max()) if len(frames.packets) else 0.0
    said_s = float(frames.manifest.get("virtual_s") or 0.0)
    return max(download_span(frames)[1], last_s, said_s)
