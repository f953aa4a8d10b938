# SPDX-License-Identifier: Apache-2.0
"""The tables of a run: which there are, their columns, and how parsed records become rows.

Every table begins with run_id, t_s, host, path, subflow; `t_s` is seconds since the run's start,
`path` is "" and `subflow` is -1 where a row belongs to none.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import union_categoricals

from analysis.parse.machine import MachineSample
from analysis.parse.mptcp import Event
from analysis.parse.mptcp_events import PathEvent
from analysis.parse.radio import RadioEvidence
from analysis.parse.segments import Seen

KEYS = ["run_id", "t_s", "host", "path", "subflow"]
RX, TX = "rx", "tx"  # seen from the host of the path's address
EVENT_COLUMNS = {
    "packet": "int64",
    "subtype": "str",
    **dict.fromkeys(("version", "flags"), "Int64"),
    **dict.fromkeys(("sender_key", "receiver_key", "token"), "str"),
    "nonce": "Int64",
    **dict.fromkeys(("hmac", "address_ids", "address"), "str"),
    **dict.fromkeys(("port", "map_bytes"), "Int64"),
    "dsn": "str",
    "reason": "Int64",
}
COUNTER_COLUMNS = {"counter": "str", "start": "int64", "end": "int64", "delta": "int64"}
LINK_COLUMNS = {
    "link": "str",
    "direction": "str",
    **dict.fromkeys(
        ("delivered_bytes", "dropped_full", "dropped_loss", "dropped_down", "opportunities"),
        "int64",
    ),
    "max_backlog_bytes": "int64",
}
DATA_COLUMNS = {
    "t_ns": "int64",
    "connection": "int32",
    "position": "int64",  # of the first byte, from the connection's first byte in this direction
    "payload_bytes": "uint32",
    "new_bytes": "int64",  # bytes that no earlier packet brought
    "reinjected_bytes": "int64",  # sent again by MPTCP: new on the subflow, not in the connection
}
DELIVERY_COLUMNS = {"t_ns": "int64", "connection": "int32", "bytes": "int64"}
LINK_SAMPLE_COLUMNS = {
    "link": "str",
    "direction": "str",
    **dict.fromkeys(
        ("delivered_bytes", "opportunities", "busy_ns", "backlog", "dropped_full"), "int64"
    ),
}
TIMER_COLUMNS = {"late_s": "float64"}
READ_COLUMNS = {"flow": "str", "bytes": "int64"}
MPTCP_EVENT_COLUMNS = {
    "event": "str",
    "token": "str",
    **dict.fromkeys(("local_id", "remote_id"), "Int64"),
    **dict.fromkeys(("local", "remote"), "str"),
    **dict.fromkeys(("is_backup", "error", "reset_reason", "interface_index"), "Int64"),
}
CAPTURE_COLUMNS = {
    "file": "str",
    "packets": "int64",  # of the interface's own addresses
    "foreign_packets": "int64",  # of the host's addresses on other paths: wrong routing
    "captured": "Int64",
    "received": "Int64",
    "dropped": "Int64",
}


@dataclass
class Traffic:
    """The TCP packets that passed the interface of a path in one direction, n; at least one.

    They may be very many, so only what is measured of them is kept, 12 bytes each.

    Attributes:
        direction: RX or TX.
        t_s: when, in the order of the capture.
        ip_bytes: their lengths.
        payload_bytes: sum of their TCP payloads.
    """

    run_id: str
    host: str
    path: str
    direction: str
    t_s: npt.NDArray[np.float64]
    ip_bytes: npt.NDArray[np.uint32]
    payload_bytes: int


@dataclass
class Frames:
    """One run: its description and its tables.

    `data` and `delivered` may have tens of millions of rows, which are in files (see `columns`):
    select columns first, rows then. The table of packets is only in derived/.

    Attributes:
        run: run.json, manifest: manifest.json, both as they are.
        traffic: the packets at the interfaces that carry a path.
        events: MPTCP options other than DSS.
        subflows: one row per TCP connection seen in a capture.
        data: received data packets with their place in the connection's stream (DATA_COLUMNS);
            delivered: when the application could read it (DELIVERY_COLUMNS). See `streams`.
        sockets: TCP sockets as sampled; connections: MPTCP sockets as sampled.
        counters: protocol counters per host; links: link counters over the run;
        captures: statistics of the captures; link_samples: link counters over time;
        mptcp_events: what the kernel said of connections and subflows;
        base_rtt: asked and measured RTT of each path before the workload, us;
        script_log: what a path manager with a script saw and did;
        reads: what the receivers of a migration read when;
        inspected: bytes that each middlebox counted, by direction of a connection;
        inspections: what inspectors logged of them over time; passages: the packets at the
        interface of each middlebox that was captured (see `inspection`).
        blocks: latency of each block of the application, where it was recorded.
        timers: how late the runner's timers were; machine: how busy the machine was; both in real
            time only.
        passage: segments on the client's and on the server's side of an interfering middlebox.
        wifi: of a run among access points: "gate", "probes", "asked", "packets", "drained".
        radio: what was said on the air, where there were radios.
        problems: what could not be read, one sentence each.
            sources: the files that were read, relative to the run directory.
    """

    run_id: str
    run: dict[str, Any]
    manifest: dict[str, Any]
    traffic: list[Traffic]
    events: pd.DataFrame
    subflows: pd.DataFrame
    data: pd.DataFrame
    delivered: pd.DataFrame
    sockets: pd.DataFrame
    connections: pd.DataFrame
    counters: pd.DataFrame
    links: pd.DataFrame
    captures: pd.DataFrame
    link_samples: pd.DataFrame = field(default_factory=lambda: empty(LINK_SAMPLE_COLUMNS))
    mptcp_events: pd.DataFrame = field(default_factory=lambda: empty(MPTCP_EVENT_COLUMNS))
    base_rtt: dict[str, dict[str, Any]] = field(default_factory=dict)
    script_log: list[dict[str, Any]] = field(default_factory=list)
    inspected: dict[str, dict[str, int]] = field(default_factory=dict)
    inspections: pd.DataFrame = field(default_factory=pd.DataFrame)
    passages: dict[str, pd.DataFrame] = field(default_factory=dict)
    reads: pd.DataFrame = field(default_factory=lambda: empty(READ_COLUMNS))
    blocks: pd.DataFrame | None = None
    timers: pd.DataFrame = field(default_factory=lambda: empty(TIMER_COLUMNS))
    machine: list[MachineSample] = field(default_factory=list)
    passage: dict[str, list[Seen]] = field(default_factory=dict)
    wifi: dict[str, Any] = field(default_factory=dict)
    radio: RadioEvidence = field(default_factory=RadioEvidence)
    problems: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def received(self, path: str) -> Traffic | None:
        """Return what a path's interface received, None if that is nothing."""
        found = (t for t in self.traffic if (t.path, t.direction) == (path, RX))
        return next(found, None)

    def packet_span_s(self) -> tuple[float, float] | None:
        """Return the times of the first and the last packet, None if there is none."""
        times = [edge for part in self.traffic for edge in (part.t_s.min(), part.t_s.max())]
        return (float(min(times)), float(max(times))) if times else None


@dataclass(frozen=True)
class Origin:
    """Where the rows of one source belong."""

    run_id: str
    host: str
    path: str = ""
    start_ns: int = 0  # Unix time of t_s = 0


def with_keys(frame: pd.DataFrame, origin: Origin, t_ns: Any = None) -> pd.DataFrame:
    """Put the five key columns in front of a frame; subflow is -1."""
    count = len(frame)
    t_s = np.full(count, np.nan) if t_ns is None else np.asarray(t_ns, dtype=np.int64) / 1e9
    keyed = pd.DataFrame(
        {
            "run_id": _constant(origin.run_id, count),
            "t_s": t_s,
            "host": _constant(origin.host, count),
            "path": _constant(origin.path, count),
            "subflow": np.full(count, -1, dtype=np.int32),
        },
        index=frame.index,
    )
    return pd.concat([keyed, frame], axis=1)


def _constant(text: str, count: int) -> "pd.Categorical[str]":
    """Return a column of one text."""
    return pd.Categorical.from_codes(np.zeros(count, dtype=np.int8), categories=pd.Index([text]))


def empty(columns: dict[str, str]) -> pd.DataFrame:
    """Return a table without rows."""
    frame = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    return with_keys(frame, Origin("", ""), [])


def concat(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Put tables of equal columns below each other; categories are united.

    Args:
        parts: at least one; if all are empty, the first is returned.
    """
    filled = [part for part in parts if len(part)]
    if not filled:
        return parts[0]
    names = [name for name in filled[0] if isinstance(filled[0][name].dtype, pd.CategoricalDtype)]
    for name in names:
        united = union_categoricals([part[name] for part in filled]).categories
        for place, part in enumerate(filled):
            filled[place] = part.assign(**{str(name): part[name].cat.set_categories(united)})
    return pd.concat(filled, ignore_index=True)


def event_rows(events: list[Event], origin: Origin) -> pd.DataFrame:
    """Return MPTCP events; keys and address ids as text, for Parquet has no 64-bit optionals."""
    rows = {name: [getattr(event, name) for event in events] for name in EVENT_COLUMNS}
    t_ns = np.array([event.t_ns for event in events], dtype=np.int64) - origin.start_ns
    for name in ("sender_key", "receiver_key", "dsn"):
        rows[name] = ["" if v is None else f"{v:016x}" for v in rows[name]]
    rows["token"] = ["" if v is None else f"{v:08x}" for v in rows["token"]]
    rows["address_ids"] = [" ".join(map(str, ids)) for ids in rows["address_ids"]]
    rows["hmac"], rows["address"] = ([v or "" for v in rows[n]] for n in ("hmac", "address"))
    frame = pd.DataFrame({name: rows[name] for name in EVENT_COLUMNS}).astype(EVENT_COLUMNS)
    return with_keys(frame, origin, t_ns)


def counter_rows(start: dict[str, int], end: dict[str, int], origin: Origin) -> pd.DataFrame:
    """Return the counters of one host; one that appears only at the end began at 0."""
    names = sorted({*start, *end})
    first = np.array([start.get(name, 0) for name in names], dtype=np.int64)
    last = np.array([end.get(name, 0) for name in names], dtype=np.int64)
    frame = pd.DataFrame({"counter": names, "start": first, "end": last, "delta": last - first})
    return with_keys(frame, origin)


def link_rows(start: dict[str, Any], end: dict[str, Any], origin: Origin) -> pd.DataFrame:
    """Return what each direction of each link did during the run.

    Every column is a difference, but max_backlog_bytes, which is the end's.
    """
    rows = []
    for link, directions in end.items():
        for direction, last in directions.items():
            first = start.get(link, {}).get(direction, {})
            row = {name: last.get(name, 0) - first.get(name, 0) for name in LINK_COLUMNS}
            row |= {"link": link, "direction": direction}
            rows.append(row | {"max_backlog_bytes": last.get("max_backlog", 0)})
    frame = pd.DataFrame(rows, columns=list(LINK_COLUMNS)).astype(LINK_COLUMNS)
    keyed = with_keys(frame, origin)
    keyed["path"] = frame["link"].astype("category")
    return keyed


def link_sample_rows(lines: list[dict[str, Any]], origin: Origin) -> pd.DataFrame:
    """Return link counters over time, one row per sample, link and direction."""
    rows = [
        (line["t_ns"], link, direction, *(values.get(n, 0) for n in list(LINK_SAMPLE_COLUMNS)[2:]))
        for line in lines
        for link, ways in line["links"].items()
        for direction, values in ways.items()
    ]
    frame = pd.DataFrame(rows, columns=["t_ns", *LINK_SAMPLE_COLUMNS])
    t_ns = frame.pop("t_ns").to_numpy(dtype=np.int64)
    return with_keys(frame.astype(LINK_SAMPLE_COLUMNS), origin, t_ns)


def mptcp_event_rows(events: list[PathEvent], origin: Origin) -> pd.DataFrame:
    """Return the kernel's events of connections and subflows."""
    rows = {name: [getattr(event, name) for event in events] for name in MPTCP_EVENT_COLUMNS}
    rows["token"] = ["" if token is None else f"{token:08x}" for token in rows["token"]]
    t_ns = np.array([event.t_ns for event in events], dtype=np.int64) - origin.start_ns
    return with_keys(pd.DataFrame(rows).astype(MPTCP_EVENT_COLUMNS), origin, t_ns)
