# SPDX-License-Identifier: Apache-2.0
"""Follow the application's bytes: which packet brought which byte first, and when it was usable.

A byte of an MPTCP connection may come several times: retransmitted on its subflow, or reinjected on
another. Goodput counts it once, by its data sequence number (RFC 8684 section 3.3), and for the
application it exists from the moment that all bytes before it are there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import Column, Columns, slices
from analysis.parse.places import Int64
from analysis.positions import Arrays, place
from analysis.tables import DATA_COLUMNS, DELIVERY_COLUMNS, KEYS

KEY_TYPES = {"t_s": "f8", "subflow": "i4"}  # the other keys follow from the subflow


def follow(
    segments: Arrays, subflows: pd.DataFrame, chunk_rows: int, folder: Path | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what each data packet brought and when the application could read it.

    A byte is usable when it and all bytes before it have arrived. A byte that never arrived ends
    the connection's rows.

    Args:
        segments: received packets with payload, see survey.SEGMENT_COLUMNS.
        subflows: Frames.subflows.
        chunk_rows: how many packets to work on at once. The result does not depend on it.
        folder: where columns go that are too long for memory.

    Returns:
        Frames.data and Frames.delivered: the key columns and DATA_COLUMNS, in order of time,
        without packets that cannot be placed; the key columns and DELIVERY_COLUMNS, path and
        subflow being those of the packet that made the bytes usable.
    """
    segments = _in_order(segments, chunk_rows, folder)
    count = segments["t_ns"].size
    relative, position = (_blank(count, chunk_rows, folder) for _ in range(2))
    known = place(segments, subflows, chunk_rows, relative, position)
    ledger = _Ledger(_origins(position, segments["subflow"], known.connection, chunk_rows))
    data = Columns({**KEY_TYPES, **DATA_COLUMNS}, folder)
    delivered = Columns({**KEY_TYPES, **DELIVERY_COLUMNS}, folder)
    for part in slices(count, chunk_rows):
        rows = _placed(segments, relative, position, part)
        rows["stream"] = known.connection[rows["subflow"]]
        rows["connection"] = subflows["connection"].to_numpy()[rows["subflow"]]
        brought = ledger.enter(rows)
        data.append({**rows, "new_bytes": brought.new, "reinjected_bytes": brought.reinjected})
        usable = {name: column[brought.usable] for name, column in rows.items()}
        delivered.append({**usable, "bytes": brought.usable_bytes})
    return (
        _frame(data.finish(), subflows, list(DATA_COLUMNS)),
        _frame(delivered.finish(), subflows, list(DELIVERY_COLUMNS)),
    )


def _placed(segments: Arrays, relative: Int64, position: Int64, part: slice) -> Arrays:
    """Return the rows of a slice that have a place, with what the tables need of them."""
    columns = {name: segments[name][part] for name in ("t_ns", "subflow", "payload_bytes")}
    columns |= {"relative": relative[part], "position": position[part]}
    is_placed = columns["position"] >= 0
    rows = {name: column[is_placed] for name, column in columns.items()}
    return {**rows, "t_s": rows["t_ns"] / 1e9}


def _in_order(segments: Arrays, chunk_rows: int, folder: Path | None) -> Arrays:
    """Return the segments in order of time; those of the same time stay as they are."""
    order = np.argsort(segments["t_ns"], kind="stable")
    kinds = {name: column.dtype.str for name, column in segments.items()}
    ordered = Columns(kinds, folder)
    for part in slices(order.size, chunk_rows):
        ordered.append({name: column[order[part]] for name, column in segments.items()})
    return ordered.finish()


def _blank(count: int, chunk_rows: int, folder: Path | None) -> Int64:
    """Return a column of zeros."""
    column = Column("i8", folder)
    for part in slices(count, chunk_rows):
        column.append(np.zeros(part.stop - part.start, dtype=np.int64))
    return column.finish()


def _origins(
    position: Int64, subflow: npt.NDArray[np.int32], connection: Int64, chunk_rows: int
) -> Int64:
    """Return the place of the first byte seen of each connection."""
    origins = np.full(int(connection.max(initial=0)) + 1, np.iinfo(np.int64).max)
    for part in slices(position.size, chunk_rows):
        placed = position[part] >= 0
        np.minimum.at(origins, connection[subflow[part][placed]], position[part][placed])
    return origins


def _frame(columns: Arrays, subflows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return a table with all key columns."""
    subflow = columns["subflow"]
    content: dict[str, Any] = dict(columns)
    for name in ("run_id", "host", "path"):
        numbers, texts = pd.factorize(subflows[name])
        codes: npt.NDArray[np.integer[Any]] = numbers.astype(np.int16)[subflow]
        content[name] = pd.Categorical.from_codes(codes, categories=pd.Index(texts))
    return pd.DataFrame({name: content[name] for name in [*KEYS, *names]}, copy=False)


class _Brought(NamedTuple):
    """What some packets brought.

    Attributes:
        new: bytes of each packet that no earlier one brought.
        reinjected: bytes of each that are new on its subflow, but not in its connection.
        usable: the packets that made bytes readable, ascending, and usable_bytes: how many.
    """

    new: Int64
    reinjected: Int64
    usable: Int64
    usable_bytes: Int64


class _Ledger:
    """What has arrived so far, of every connection and of every subflow.

    Args:
        origins: the place of the first byte of each connection.
    """

    def __init__(self, origins: Int64) -> None:
        self._connections = [Stream(origin) for origin in origins.tolist()]
        self._subflows: dict[int, Stream] = {}

    def enter(self, rows: Arrays) -> _Brought:
        """Enter packets that came after all that were entered before.

        Args:
            rows: their payload_bytes; subflow and relative, the place in its stream; stream (the
                number of the connection) and position, the place in it.
        """
        size = rows["payload_bytes"].astype(np.int64)
        new, on_subflow, usable_bytes = (np.zeros(size.size, dtype=np.int64) for _ in range(3))
        for number, mine in _groups(rows["stream"]):
            stream = self._connections[number]
            new[mine], usable_bytes[mine] = stream.arrive(rows["position"][mine], size[mine])
        for number, mine in _groups(rows["subflow"]):
            stream = self._subflows.setdefault(number, Stream())
            on_subflow[mine], _ = stream.arrive(rows["relative"][mine], size[mine])
        usable = np.flatnonzero(usable_bytes)
        return _Brought(new, on_subflow - new, usable, usable_bytes[usable])


def _groups(numbers: npt.NDArray[Any]) -> Iterator[tuple[int, Int64]]:
    """Yield each number and the places where it is, ascending."""
    if not numbers.size:
        return
    order = np.argsort(numbers, kind="stable")
    first = np.flatnonzero(np.diff(numbers[order])) + 1
    for mine in np.split(order, first):
        yield int(numbers[mine[0]]), mine


class Stream:
    """Which bytes of a stream have arrived.

    Args:
        origin: the place of the first byte that can be read; without it nothing can.
    """

    def __init__(self, origin: int | None = None) -> None:
        self._readable = origin  # all before this could be read
        self._start = np.zeros(0, dtype=np.int64)  # what is there: ascending, with holes between
        self._end = np.zeros(0, dtype=np.int64)

    def arrive(self, start: Int64, size: Int64) -> tuple[Int64, Int64]:
        """Take packets in order of time, at least one.

        Returns:
            Bytes of each packet that had not come before, and bytes that it made readable.
        """
        # What is there and touches the packets stands in front, as packets that came earlier.
        first = int(np.searchsorted(self._end, start.min()))
        last = int(np.searchsorted(self._start, (start + size).max(), side="right"))
        near = slice(first, last)
        start = np.append(self._start[near], start)
        size = np.append(self._end[near] - self._start[near], size)
        piece, packet, bounds = _pieces(start, size)
        bringer = np.full(bounds.size - 1, -1, dtype=np.int64)
        bringer[piece[::-1]] = packet[::-1]  # pairs are in order of time, and the last one stays
        is_there = bringer >= 0
        new = _sums(bringer[is_there], np.diff(bounds)[is_there], start.size)
        readable = self._read(bringer, bounds, start.size)
        edges = np.flatnonzero(np.diff(is_there, prepend=False, append=False))
        self._start = _replaced(self._start, near, bounds[edges[::2]])
        self._end = _replaced(self._end, near, bounds[edges[1::2]])
        return new[last - first :], readable[last - first :]

    def _read(self, bringer: Int64, bounds: Int64, packets: int) -> Int64:
        """Return how many bytes each of `packets` packets made readable."""
        origin = self._readable
        first = None if origin is None else int(np.searchsorted(bounds, origin))
        if first is None or first >= bringer.size or bounds[first] != origin:
            return np.zeros(packets, dtype=np.int64)
        hole = np.flatnonzero(bringer[first:] < 0)  # ends what can be read
        last = first + int(hole[0]) if hole.size else bringer.size
        self._readable = int(bounds[last])
        usable = np.maximum.accumulate(bringer[first:last])
        return _sums(usable, np.diff(bounds[first : last + 1]), packets)


def _replaced(values: Int64, part: slice, new: Int64) -> Int64:
    """Return the values with others in the place of a part."""
    return np.concatenate([values[: part.start], new, values[part.stop :]])


def _sums(place: Int64, numbers: Int64, count: int) -> Int64:
    """Return the sum of the numbers at each of `count` places."""
    return np.bincount(place, weights=numbers, minlength=count).astype(np.int64)


def _pieces(start: Int64, size: Int64) -> tuple[Int64, Int64, Int64]:
    """Cut a stream where any packet begins or ends.

    Returns:
        (piece, packet, bounds): pairs of a piece and a packet that covers it, packets in order;
        piece i is the bytes bounds[i] to bounds[i + 1].
    """
    bounds = np.sort(np.concatenate([start, start + size]))  # np.unique hashes: 10 times slower
    bounds = bounds[np.append(np.diff(bounds) > 0, True)]
    first, last = np.searchsorted(bounds, start), np.searchsorted(bounds, start + size)
    count = last - first
    packet = np.repeat(np.arange(start.size), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within, packet, bounds
