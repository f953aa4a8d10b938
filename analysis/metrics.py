# SPDX-License-Identifier: Apache-2.0
"""Measure a run: tables in, tables or numbers out.

Throughput is IP bytes at an interface per time; goodput is application bytes that the receiver
could read, each counted once; a handover gap is the longest time without goodput around a change.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import slices
from analysis.ride import Coverage
from analysis.tables import KEYS, Frames, Traffic

BIN_S = 0.5
# A gap belongs to a change of coverage if it begins from this long before to this long after it:
# a queue drains first, and what was lost blocks the rest only when the reader reaches it.
BEFORE_S, AFTER_S = 0.5, 10.0
SLICE_ROWS = 1 << 20  # rows of a long table that are worked on at once
STEADY_AFTER = 0.25  # of the time, which is left out of averages
STALL_S = 1.0  # a gap that a user of the application would notice


def bin_edges(end_s: float, bin_s: float = BIN_S) -> npt.NDArray[np.float64]:
    """Return the edges of equal bins from 0 to at least `end_s`."""
    count = max(int(np.ceil(end_s / bin_s - 1e-9)), 1)
    return np.linspace(0.0, count * bin_s, count + 1)


def binned(
    t_s: npt.NDArray[np.float64], weights: npt.NDArray[Any], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the sum of the weights in each bin.

    A bin holds its left edge but not its right one; the last holds both.
    """
    sums = np.zeros(edges.size - 1)
    for part in slices(t_s.size, SLICE_ROWS):
        times = t_s[part]
        place = np.searchsorted(edges, times, side="right") - 1
        place[times == edges[-1]] = sums.size - 1
        is_in = (place >= 0) & (place < sums.size)
        sums += np.bincount(place[is_in], weights=weights[part][is_in], minlength=sums.size)
    return sums


def throughput(traffic: list[Traffic], end_s: float, bin_s: float = BIN_S) -> pd.DataFrame:
    """Return IP bytes and throughput per host, path, direction and bin.

    Args:
        traffic: Frames.traffic.
        end_s: end of the run; the last bin may reach past it.

    Returns:
        Key columns with t_s the beginning of the bin, direction, ip_bytes, throughput_mbps
        (Mbit/s). Empty bins are rows with 0.
    """
    edges = bin_edges(end_s, bin_s)
    parts = []
    for part in traffic:
        counts = binned(part.t_s, part.ip_bytes, edges)
        parts.append(pd.DataFrame({
            "run_id": part.run_id, "t_s": edges[:-1], "host": part.host, "path": part.path,
            "subflow": -1, "direction": part.direction, "ip_bytes": counts.astype(np.int64),
            "throughput_mbps": counts * 8 / bin_s / 1e6,
        }))  # fmt: skip
    columns = [*KEYS, "direction", "ip_bytes", "throughput_mbps"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def goodput(delivered: pd.DataFrame, end_s: float, bin_s: float = BIN_S) -> pd.DataFrame:
    """Return application bytes that became readable, and goodput, per bin.

    Args:
        delivered: Frames.delivered.
    """
    edges = bin_edges(end_s, bin_s)
    counts = binned(delivered["t_s"].to_numpy(), delivered["bytes"].to_numpy(), edges)
    names = {name: delivered[name].iloc[0] if len(delivered) else "" for name in ("run_id", "host")}
    return pd.DataFrame({
        **names, "t_s": edges[:-1], "path": "", "subflow": -1, "bytes": counts.astype(np.int64),
        "goodput_mbps": counts * 8 / bin_s / 1e6,
    })[[*KEYS, "bytes", "goodput_mbps"]]  # fmt: skip


def steady_goodput_mbps(delivered: pd.DataFrame, first_s: float, last_s: float) -> float:
    """Return the goodput without the first quarter of the time, in which windows still grow."""
    begin_s = first_s + STEADY_AFTER * (last_s - first_s)
    if last_s <= begin_s:
        return 0.0
    t_s, size = delivered["t_s"].to_numpy(), delivered["bytes"].to_numpy()
    return float(size[t_s > begin_s].sum() * 8 / (last_s - begin_s) / 1e6)


def bytes_per_path(frames: Frames) -> pd.DataFrame:
    """Return per path what was received: one row per path of the topology, zeros included.

    Returns:
        path, ip_bytes, payload_bytes, new_bytes, duplicate_bytes (retransmitted by TCP though
        they had arrived), reinjected_bytes (sent again by MPTCP though they had arrived).
    """
    paths = [path["name"] for path in frames.run["topology"]["paths"]]
    stream = frames.data.groupby("path", observed=True)[["new_bytes", "reinjected_bytes"]].sum()
    stream.index = stream.index.astype("str")
    table = stream.reindex(paths).fillna(0).astype("int64")
    received = [frames.received(path) for path in paths]
    ip_bytes = [int(part.ip_bytes.sum(dtype=np.int64)) if part else 0 for part in received]
    payload_bytes = np.array([part.payload_bytes if part else 0 for part in received], np.int64)
    table.insert(0, "ip_bytes", ip_bytes)
    table.insert(1, "payload_bytes", payload_bytes)
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
        data: Frames.data; packets without new bytes do not end a silence.
        delivered: Frames.delivered.
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
        data: Frames.data.
        coverages: of the paths that come and go.
        end_s: end of the download; later coverage is left out.

    Returns:
        Key columns with t_s the beginning of the coverage, station (from 1), covered_s, new_bytes
        over that path in that time.
    """
    rows = []
    for coverage in coverages:
        is_mine = data["path"] == coverage.path
        t_s, new_bytes = (data[name].to_numpy()[is_mine] for name in ("t_s", "new_bytes"))
        for number, (first_s, last_s) in enumerate(coverage.spans, 1):
            if first_s < end_s:
                size = int(new_bytes[slice(*np.searchsorted(t_s, (first_s, last_s)))].sum())
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
    _, last_s = frames.packet_span_s() or (0.0, 0.0)
    said_s = float(frames.manifest.get("virtual_s") or 0.0)
    return max(download_span(frames)[1], last_s, said_s)
