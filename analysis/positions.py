# SPDX-License-Identifier: Apache-2.0
"""Place each data packet in the stream of its subflow and in that of its connection.

Both are counted from the first byte on, past the wrap of 32-bit numbers, so that what follows need
not know of sequence numbers. Packets are taken in order of time, some at a time.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.columns import slices
from analysis.parse.mptcp import DSS_MAP, DSS_MAP8
from analysis.parse.places import Int64

Arrays = dict[str, npt.NDArray[Any]]
NOWHERE = np.int64(-1) << 62  # the position of a packet that cannot be placed


class Unwrapper:
    """Continue the 32-bit sequence numbers of many streams; neighbours differ by less than 2^31.

    Args:
        streams: how many there are.
    """

    def __init__(self, streams: int) -> None:
        self._last = np.zeros(streams, dtype=np.int64)

    def unwrap(self, numbers: npt.NDArray[np.uint32], stream: Int64) -> Int64:
        """Return the numbers without wrap, by the stream of each; the first ones of all near 0."""
        if not numbers.size:
            return np.zeros(0, dtype=np.int64)
        order = np.argsort(stream, kind="stable")
        numbers, mine = numbers[order], stream[order]
        first = np.flatnonzero(np.append(True, mine[1:] != mine[:-1]))
        before = self._last[mine[first]]
        previous = np.append(np.uint32(0), numbers[:-1])
        previous[first] = before.astype(np.uint32)
        total = np.cumsum((numbers - previous).view(np.int32), dtype=np.int64)
        start = np.append(0, total[first[1:] - 1])
        total += np.repeat(before - start, np.diff(np.append(first, mine.size)))
        self._last[mine[first]] = total[np.append(first[1:], mine.size) - 1]
        whole = np.empty_like(total)
        whole[order] = total
        return whole


class Streams(NamedTuple):
    """What is known of all subflows and connections before the packets are placed.

    Attributes:
        connection: of each subflow, a row of the columns below; the last row is of subflows
            whose connection is not known.
        isn: the sequence number of each subflow's SYN.
        is_mapped: connections that have a mapping, has_short: that have one of 4 octets.
        base: the first data sequence number, of 8 octets where there is one.
    """

    connection: Int64
    isn: npt.NDArray[np.uint32]
    is_mapped: npt.NDArray[np.bool_]
    has_short: npt.NDArray[np.bool_]
    base: npt.NDArray[np.uint64]


def place(
    segments: Arrays, subflows: pd.DataFrame, chunk_rows: int, relative: Int64, position: Int64
) -> Streams:
    """Fill `relative` and `position`, both as long as `segments`.

    A packet's position in its connection is 0 for the smallest data sequence number; it is
    negative if the packet cannot be placed, on a subflow that never has a mapping.

    Args:
        segments: SEGMENT_COLUMNS, in order of time.
        subflows: Frames.subflows.
        relative: filled with the place in the subflow's stream (the first byte: 1).
        position: filled with the place in the connection's stream.
    """
    known = _survey(segments, subflows, chunk_rows)
    on_subflow = Unwrapper(known.isn.size)
    numbering = _DataNumbers(known)
    is_loose = np.zeros(known.isn.size, dtype=bool)  # subflows with packets without a mapping
    for part in slices(position.size, chunk_rows):
        rows = {name: column[part] for name, column in segments.items()}
        subflow = rows["subflow"]
        relative[part] = on_subflow.unwrap(rows["seq"] - known.isn[subflow], subflow)
        connection, mapped = known.connection[subflow], rows["mapped"] > 0
        # TCP: the subflow's stream is the connection's.
        where = np.where(known.is_mapped[connection], NOWHERE, relative[part] - 1)
        # A mapping may cover several segments: this one lies (relative - ssn) bytes into it.
        into = relative[part][mapped].astype(np.uint32) - rows["ssn"][mapped]
        where[mapped] = numbering.take(rows, connection, mapped) + into.view(np.int32)
        position[part] = where
        is_loose[subflow[~mapped & known.is_mapped[connection]]] = True
    if is_loose.any():
        _place_loose(segments, is_loose, relative, position)
    least = np.where(known.is_mapped, numbering.least, 0)
    for part in slices(position.size, chunk_rows):
        mine = position[part]
        is_placed = mine != NOWHERE
        mine[is_placed] -= least[known.connection[segments["subflow"][part]]][is_placed]
    return known


def _survey(segments: Arrays, subflows: pd.DataFrame, chunk_rows: int) -> Streams:
    """Look at all packets once for what must be known before the first can be placed."""
    connection = subflows["connection"].to_numpy().astype(np.int64)
    count = int(connection.max(initial=-1)) + 2
    connection = np.where(connection < 0, count - 1, connection)
    is_mapped, has_short, has_long = (np.zeros(count, dtype=bool) for _ in range(3))
    base = np.zeros(count, dtype=np.uint64)
    guess = _SynGuess(subflows["isn_rx"])
    for part in slices(segments["seq"].size, chunk_rows):
        rows = {name: column[part] for name, column in segments.items()}
        guess.take(rows)
        mapped = rows["mapped"] > 0
        number, dsn = connection[rows["subflow"][mapped]], rows["dsn"][mapped]
        is_long = _is_long(rows["dss_flags"][mapped])
        new_long = is_long & ~has_long[number]
        new_short = ~is_long & ~has_long[number] & ~is_mapped[number]
        for new in (new_short, new_long):  # in this order: one of 8 octets is better
            base[number[new][::-1]] = dsn[new][::-1]  # the last one stays
        is_mapped[number] = True
        has_long[number[is_long]] = True
        has_short[number[~is_long]] = True
    return Streams(connection, guess.finish(), is_mapped, has_short, base)


def _is_long(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which mappings have 8 octets.

    The one that MP_CAPABLE implies comes without DSS flags and has 8.
    """
    is_long: npt.NDArray[np.bool_] = (flags & DSS_MAP8 > 0) | (flags & DSS_MAP == 0)
    return is_long


class _SynGuess:
    """The SYN's sequence number of each subflow, guessed where the SYN was not captured."""

    def __init__(self, known: pd.Series) -> None:
        self._is_known = known.notna().to_numpy()
        self._known = known.fillna(0).to_numpy(dtype=np.int64).astype(np.uint32)
        self._first = np.full(known.size, -1, dtype=np.int64)
        self._least = np.full(known.size, 1 << 32, dtype=np.int64)

    def take(self, rows: Arrays) -> None:
        """Look at some packets."""
        subflow = rows["subflow"]
        new = ~self._is_known[subflow]
        if not new.any():
            return
        first = new & (self._first[subflow] < 0)
        self._first[subflow[first][::-1]] = rows["seq"][first][::-1]
        # A mapping's first packet gives it exactly, later ones (RFC 8684 3.3.1) too large a number.
        mapped = new & (rows["mapped"] > 0)
        np.minimum.at(self._least, subflow[mapped], rows["seq"][mapped] - rows["ssn"][mapped])

    def finish(self) -> npt.NDArray[np.uint32]:
        """Return all numbers."""
        guess = np.where(self._least < 1 << 32, self._least, self._first - 1).astype(np.uint32)
        return np.where(self._is_known, self._known, guess)


class _DataNumbers:
    """Continue the data sequence numbers of all connections, of 8 octets and of 4."""

    def __init__(self, known: Streams) -> None:
        self._known = known
        self._short = Unwrapper(known.base.size)
        self.least = np.full(known.base.size, np.iinfo(np.int64).max)

    def take(self, rows: Arrays, connection: Int64, mapped: npt.NDArray[np.bool_]) -> Int64:
        """Return the data sequence numbers of the mapped rows relative to the first one."""
        connection = connection[mapped]
        relative = (rows["dsn"][mapped] - self._known.base[connection]).view(np.int64)
        mixed = np.flatnonzero(self._known.has_short[connection])
        if mixed.size:
            low = (relative[mixed] & 0xFFFFFFFF).astype(np.uint32)
            low_relative = self._short.unwrap(low, connection[mixed])
            is_long = _is_long(rows["dss_flags"][mapped][mixed])
            relative[mixed] = np.where(is_long, relative[mixed], low_relative)
        np.minimum.at(self.least, connection, relative)
        return relative


def _place_loose(
    segments: Arrays, is_loose: npt.NDArray[np.bool_], relative: Int64, position: Int64
) -> None:
    """Place packets without a mapping by the nearest mapping on their subflow, mostly before.

    Such packets are the rest of a mapping whose option only its first segment carries, or follow
    an infinite mapping (RFC 8684 section 3.7).
    """
    rows = np.flatnonzero(is_loose[segments["subflow"]])
    subflow = segments["subflow"][rows]
    rows = rows[np.argsort(subflow, kind="stable")]
    starts = np.flatnonzero(np.diff(np.sort(subflow), prepend=-1))
    for mine in np.split(rows, starts[1:]):
        mapped = segments["mapped"][mine] > 0
        known, loose = mine[mapped], mine[~mapped]
        if not known.size:
            continue
        order = known[np.argsort(relative[known], kind="stable")]
        before = np.searchsorted(relative[order], relative[loose], side="right") - 1
        nearest = order[np.maximum(before, 0)]
        position[loose] = position[nearest] + relative[loose] - relative[nearest]
