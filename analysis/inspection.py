# SPDX-License-Identifier: Apache-2.0
"""What a middlebox logged over time, and what a capture at its interface says of the same."""

import ipaddress
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.parse.headers import Addresses, parse_headers
from analysis.parse.nft import parse_inspection
from analysis.parse.places import Bytes, Records
from analysis.parse.records import iter_records
from analysis.parse.segment_routing import wrapped_packets

# Every TCP packet over IPv4 at the interface, on its way in or out; `segments` is the list that it
# is wrapped with, "" without one, and ip_bytes then counts what it is wrapped in.
PASSAGE_COLUMNS = {
    "t_s": "float64",
    "connection": "str",
    "source": "str",
    "target": "str",
    "ip_bytes": "int64",
    "payload_bytes": "int64",
    "segments": "str",
    "segments_left": "int64",
}
LOG_COLUMNS = {"node": "str", "t_s": "float64", "connection": "str", "bytes": "int64"}


def passages(raw: bytes, start_ns: int) -> pd.DataFrame:
    """Return the packets of a capture at a middlebox, PASSAGE_COLUMNS.

    Args:
        raw: the capture file.
        start_ns: when the run began.
    """
    data = np.frombuffer(raw, dtype=np.uint8)
    parts = [part for records in iter_records(data) for part in _parts(data, records, start_ns)]
    table = pd.concat(parts or [no_passages()], ignore_index=True)
    return table.sort_values("t_s", kind="stable", ignore_index=True)


def no_passages() -> pd.DataFrame:
    """Return a table of no packets."""
    return pd.DataFrame({name: [] for name in PASSAGE_COLUMNS}).astype(PASSAGE_COLUMNS)


def _parts(data: Bytes, records: Records, start_ns: int) -> Iterator[pd.DataFrame]:
    wrapped = wrapped_packets(data, records)
    lists = pd.Series([" ".join(one) for one in wrapped.lists], dtype="str")
    yield _rows(data, wrapped.inside, start_ns, wrapped.ip_bytes, lists, wrapped.segments_left)
    yield _rows(data, records, start_ns, None, "", 0)


def _rows(
    data: Bytes, records: Records, start_ns: int, ip_bytes: Any, segments: Any, left: Any
) -> pd.DataFrame:
    packets, _ = parse_headers(data, records, Addresses())
    is_tcp = (packets["ip_version"] == 4) & (packets["tcp_header_bytes"] > 0)
    some = packets[is_tcp]
    frame = pd.DataFrame({"source": _names(some["src"]), "target": _names(some["dst"])})
    sport, dport = (pd.Series(some[name]).astype("str") for name in ("sport", "dport"))
    ends = frame["source"] + ":" + sport + " > " + frame["target"] + ":" + dport
    frame = frame.assign(
        t_s=(some["t_ns"] - start_ns) / 1e9,
        connection=ends,
        ip_bytes=some["ip_bytes"] if ip_bytes is None else ip_bytes[is_tcp],
        payload_bytes=some["payload_bytes"],
        segments=segments if isinstance(segments, str) else segments[is_tcp].to_numpy(),
        segments_left=left if isinstance(left, int) else left[is_tcp],
    )
    return frame[list(PASSAGE_COLUMNS)].astype(PASSAGE_COLUMNS)


def _names(numbers: Any) -> pd.Series:
    known = {number: str(ipaddress.ip_address(int(number))) for number in np.unique(numbers)}
    return pd.Series(numbers).map(known).astype("str")


def log_rows(raw: bytes, node: str, start_ns: int) -> pd.DataFrame:
    """Return what an inspector logged, LOG_COLUMNS."""
    rows = [
        (node, (t_ns - start_ns) / 1e9, name, size) for t_ns, name, size in parse_inspection(raw)
    ]
    return pd.DataFrame(rows, columns=list(LOG_COLUMNS)).astype(LOG_COLUMNS)


def leaving(table: pd.DataFrame, addresses: set[str], way: str) -> pd.Series:
    """Say which packets have left the middlebox.

    Args:
        table: PASSAGE_COLUMNS.
        addresses: of the middlebox.
        way: the address whose way leads past it, which a transparent proxy answers from.
    """
    is_last = (table["segments"] != "") & (table["segments_left"] == 0)
    is_own = table["source"].isin(addresses)
    is_in_name_of = (table["source"] == way) & ~table["target"].isin(addresses)
    return is_last | ((table["segments"] == "") & (is_own | is_in_name_of))


def logged_bytes(log: pd.DataFrame) -> pd.DataFrame:
    """Return all that had passed at each sample: node, t_s, bytes."""
    sums = log.groupby(["node", "t_s"])[["bytes"]].sum()
    return sums.reset_index()


def captured_bytes(table: pd.DataFrame, times_s: pd.Series) -> Any:
    """Return how many IP bytes of some packets there had been at each time."""
    totals = np.concatenate([[0], np.cumsum(table["ip_bytes"].to_numpy())])
    return totals[np.searchsorted(table["t_s"].to_numpy(), times_s.to_numpy(), side="right")]
