# SPDX-License-Identifier: Apache-2.0
"""Keep of the packets of all captures what later stages need, in one pass and chunk by chunk.

Per packet only its time and length are kept, per received data packet also where it belongs in its
stream; per subflow its first packet and its handshake; and every MPTCP event.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import tables
from analysis.columns import Columns
from analysis.packets import Own
from analysis.parse.mptcp import Event
from analysis.parse.places import Int64
from analysis.subflows import FLAG_SYN
from analysis.tables import KEYS, RX, TX, Origin, Traffic

TRAFFIC_COLUMNS = {"t_s": "f8", "ip_bytes": "u4"}
# A received packet with payload.
SEGMENT_COLUMNS = {
    "t_ns": "i8",
    "subflow": "i4",
    "payload_bytes": "u4",
    "seq": "u4",
    "mapped": "u1",
    "dss_flags": "u1",
    "dsn": "u8",
    "ssn": "u4",
}
OPENING_COLUMNS = {
    "subflow": "i4",
    "t_s": "f8",
    "is_sent": "?",
    "seq": "u4",
    "flags": "u2",
    "mptcp": "u2",
}


class Survey(NamedTuple):
    """What was kept.

    Attributes:
        firsts: one row per subflow, by number: the key columns of its first packet in the capture,
            local, remote.
        opening: packets with SYN (OPENING_COLUMNS).
        events: Frames.events.
        traffic: Frames.traffic.
        segments: received packets with payload, capture by capture (SEGMENT_COLUMNS).
    """

    firsts: pd.DataFrame
    opening: pd.DataFrame
    events: pd.DataFrame
    traffic: list[Traffic]
    segments: dict[str, npt.NDArray[Any]]


@dataclass
class _Interface:
    """The packets of one path in one direction, as they come in."""

    columns: Columns
    payload_bytes: int = 0


class Surveyor:
    """Take the chunks of all captures, one capture after the other.

    Args:
        folder: where columns go that are too long for memory.
    """

    def __init__(self, run_id: str, folder: Path | None = None) -> None:
        self._run_id, self._folder = run_id, folder
        self._known: dict[tuple[str, str, str, str], int] = {}
        self._first_s: list[float] = []  # in the order of the capture
        self._least_ns = np.zeros(0, dtype=np.int64)
        self._traffic: dict[tuple[str, str, str], _Interface] = {}
        self._segments = Columns(SEGMENT_COLUMNS, folder)
        self._opening = Columns(OPENING_COLUMNS, folder)
        self._events = [_event_rows([], [], [], Origin(run_id, ""))]

    def add(self, own: Own, events: list[Event], origin: Origin) -> None:
        """Take one chunk.

        Args:
            own: the packets of the host in the chunk.
            events: all events of the chunk.
            origin: where the capture was taken.
        """
        packets = own.packets
        t_ns = packets["t_ns"] - origin.start_ns
        subflow = self._number(own, t_ns, origin)
        columns: dict[str, Any] = {name: packets[name] for name in packets.dtype.names or ()}
        columns |= {"t_ns": t_ns, "t_s": t_ns / 1e9, "subflow": subflow, "is_sent": own.is_sent}
        self._add_traffic(columns, origin)
        is_data = ~own.is_sent & (packets["payload_bytes"] > 0)
        self._segments.append({name: columns[name][is_data] for name in SEGMENT_COLUMNS})
        opens = np.flatnonzero(packets["flags"] & FLAG_SYN > 0)
        self._opening.append({name: columns[name][opens] for name in OPENING_COLUMNS})
        self._add_events(own, events, subflow, origin)

    def finish(self) -> Survey:
        """Number the subflows in order of time and return everything."""
        order = np.argsort(self._least_ns, kind="stable")
        number = np.empty(order.size, dtype=np.int32)
        number[order] = np.arange(order.size, dtype=np.int32)
        segments = self._segments.finish()
        segments["subflow"][:] = number[segments["subflow"]]
        opening = pd.DataFrame(self._opening.finish())
        opening["subflow"] = number[opening["subflow"].to_numpy()]
        events = tables.concat(self._events)
        events["subflow"] = number[events["subflow"].to_numpy()]
        firsts = self._firsts(order)
        return Survey(firsts, opening, events, self._finish_traffic(), segments)

    def _number(self, own: Own, t_ns: Int64, origin: Origin) -> npt.NDArray[np.int32]:
        """Return a number for each packet's pair of ends, in order of appearance."""
        known = len(self._known)
        place = (origin.host, origin.path)
        keys = [(*place, end.local, end.remote) for end in own.ends]
        numbers = [self._known.setdefault(key, len(self._known)) for key in keys]
        subflow = np.array(numbers, dtype=np.int32)[own.between]
        new = np.full(len(self._known) - known, np.iinfo(np.int64).max)
        self._least_ns = np.concatenate([self._least_ns, new])
        np.minimum.at(self._least_ns, subflow, t_ns)
        first = np.zeros(len(own.ends), dtype=np.int64)
        first[own.between[::-1]] = np.arange(own.between.size)[::-1]  # the last one stays
        self._first_s += [
            float(t_ns[row] / 1e9)
            for number, row in zip(numbers, first.tolist(), strict=True)
            if number >= known
        ]
        return subflow

    def _add_traffic(self, columns: dict[str, Any], origin: Origin) -> None:
        for direction, is_this in ((RX, ~columns["is_sent"]), (TX, columns["is_sent"])):
            if not is_this.any():
                continue
            key = (origin.host, origin.path, direction)
            if key not in self._traffic:
                self._traffic[key] = _Interface(Columns(TRAFFIC_COLUMNS, self._folder))
            interface = self._traffic[key]
            interface.columns.append({name: columns[name][is_this] for name in TRAFFIC_COLUMNS})
            interface.payload_bytes += int(columns["payload_bytes"][is_this].sum(dtype=np.int64))

    def _finish_traffic(self) -> list[Traffic]:
        """Return all traffic by host, path and direction, each in order of appearance."""
        hosts, paths = (list(dict.fromkeys(key[n] for key in self._traffic)) for n in (0, 1))
        keys = sorted(self._traffic, key=lambda k: (hosts.index(k[0]), paths.index(k[1]), k[2]))
        found = []
        for key in keys:
            columns = self._traffic[key].columns.finish()
            kept = (columns["t_s"], columns["ip_bytes"], self._traffic[key].payload_bytes)
            found.append(Traffic(self._run_id, *key, *kept))
        return found

    def _add_events(
        self, own: Own, events: list[Event], subflow: npt.NDArray[np.int32], origin: Origin
    ) -> None:
        """Keep the events of the host's packets, with the subflow and direction of the packet."""
        if not events or not own.number.size:
            return
        carrier = np.array([event.packet for event in events])
        rows = np.minimum(np.searchsorted(own.number, carrier), own.number.size - 1)
        is_own = own.number[rows] == carrier
        mine = [event for event, wanted in zip(events, is_own.tolist(), strict=True) if wanted]
        rows = rows[is_own]
        self._events.append(_event_rows(mine, subflow[rows], own.is_sent[rows], origin))

    def _firsts(self, order: Int64) -> pd.DataFrame:
        keys = list(self._known)
        rows = [
            (self._run_id, self._first_s[place], *keys[place][:2], number, *keys[place][2:])
            for number, place in enumerate(order.tolist())
        ]
        return pd.DataFrame(rows, columns=[*KEYS, "local", "remote"])


def _event_rows(events: list[Event], subflow: Any, is_sent: Any, origin: Origin) -> pd.DataFrame:
    rows = tables.event_rows(events, origin).astype({"host": "str", "path": "str"})
    rows["subflow"] = np.asarray(subflow, dtype=np.int32)
    codes = np.asarray(is_sent, dtype=np.int8)
    directions = pd.Categorical.from_codes(codes, categories=pd.Index([RX, TX]))
    rows.insert(len(KEYS), "direction", pd.Series(directions))
    return rows
