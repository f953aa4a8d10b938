# SPDX-License-Identifier: Apache-2.0
"""Follow the application's bytes: which packet brought which byte first, and when it was usable.

A byte of an MPTCP connection may come several times: retransmitted on its subflow, or reinjected on
another. Goodput counts it once, by its data sequence number (RFC 8684 section 3.3), and for the
application it exists from the moment that all bytes before it are there.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.parse.mptcp import DSS_MAP, DSS_MAP8
from analysis.tables import DATA_COLUMNS, DELIVERY_COLUMNS, KEYS, RX

Int64 = npt.NDArray[np.int64]


def received_data(
    packets: pd.DataFrame, subflows: pd.DataFrame, direction: str = RX
) -> pd.DataFrame:
    """Return the data packets of one direction with their place in the connection's stream.

    Args:
        packets: Frames.packets.
        subflows: Frames.subflows.
        direction: "rx" for what the captured host received.

    Returns:
        The key columns and DATA_COLUMNS, in order of time; without packets that cannot be placed.
    """
    data = packets[(packets["direction"] == direction) & (packets["payload_bytes"] > 0)]
    data = data.sort_values("t_ns", kind="stable").reset_index(drop=True)
    numbers = subflows.set_index("subflow")
    data["connection"] = data["subflow"].map(numbers["connection"]).astype("int32")
    relative = _subflow_position(data, numbers[f"isn_{direction}"])
    data["position"] = _stream_position(data, relative)
    is_placed = (data["position"] >= 0).to_numpy()
    data, relative = data[is_placed].reset_index(drop=True), relative[is_placed]
    size = data["payload_bytes"].to_numpy().astype(np.int64)
    data["new_bytes"] = _new_bytes(data["position"].to_numpy(), size, data["connection"])
    data["reinjected_bytes"] = _new_bytes(relative, size, data["subflow"]) - data["new_bytes"]
    return data[[*KEYS, *DATA_COLUMNS]]


def delivered_data(data: pd.DataFrame) -> pd.DataFrame:
    """Return when the bytes of each connection could be read in order by the application.

    A byte is usable when it and all bytes before it have arrived: the running maximum of the first
    arrivals, in the order of the stream. A byte that never arrived ends the connection's rows.

    Args:
        data: what received_data returned.

    Returns:
        The key columns and DELIVERY_COLUMNS; path and subflow are those of the packet that made
        the bytes usable.
    """
    parts = [_deliver(part) for _, part in data.groupby("connection", sort=True)]
    columns = [*KEYS, *DELIVERY_COLUMNS]
    if not parts:
        return data.assign(bytes=0)[columns]
    return pd.concat(parts).sort_values("t_ns", kind="stable", ignore_index=True)[columns]


def _subflow_position(data: pd.DataFrame, first_numbers: pd.Series) -> Int64:
    """Return each packet's subflow sequence number relative to the SYN's (the first byte: 1)."""
    relative = np.zeros(len(data), dtype=np.int64)
    for subflow, rows in data.groupby("subflow", sort=False).indices.items():
        seq = data["seq"].to_numpy()[rows]
        isn = first_numbers.get(subflow, pd.NA)
        if pd.isna(isn):
            isn = _guess_isn(data.iloc[rows], seq)
        relative[rows] = _unwrap(seq - np.uint32(int(isn)), 0)
    return relative


def _guess_isn(data: pd.DataFrame, seq: npt.NDArray[np.uint32]) -> int:
    """Return the SYN's sequence number of a subflow whose SYN was not captured."""
    mapped = data["mapped"].to_numpy() > 0
    if not mapped.any():
        return int(seq[0] - np.uint32(1))
    # A mapping's first packet gives it exactly, later ones (RFC 8684 3.3.1) too large a number.
    return int(np.min(seq[mapped] - data["ssn"].to_numpy()[mapped]))


def _unwrap(numbers: npt.NDArray[np.uint32], before: int) -> Int64:
    """Continue 32-bit sequence numbers past 2^32; neighbours differ by less than 2^31."""
    steps = np.diff(numbers, prepend=np.uint32(before)).astype(np.uint32).view(np.int32)
    return before + np.cumsum(steps, dtype=np.int64)


def _stream_position(data: pd.DataFrame, relative: Int64) -> Int64:
    """Return each packet's place in its connection, the first byte seen there being about 0.

    A packet that cannot be placed, on a subflow that never has a mapping, gets -1.
    """
    position = np.zeros(len(data), dtype=np.int64)
    mapped = data["mapped"].to_numpy() > 0
    subflow = data["subflow"].to_numpy()
    for indices in data.groupby("connection", sort=False).indices.values():
        rows = np.asarray(indices)
        if not mapped[rows].any():
            position[rows] = relative[rows] - 1  # TCP: the subflow's stream is the connection's
            continue
        known = rows[mapped[rows]]
        # A mapping may cover several segments: this one lies (relative - ssn) bytes into it.
        into = relative[known].astype(np.uint32) - data["ssn"].to_numpy()[known]
        position[known] = _data_numbers(data.iloc[known]) + into.astype(np.uint32).view(np.int32)
        for number in np.unique(subflow[rows[~mapped[rows]]]):
            mine = rows[subflow[rows] == number]
            _place_unmapped(position, relative, mine[mapped[mine]], mine[~mapped[mine]])
    return position


def _data_numbers(data: pd.DataFrame) -> Int64:
    """Return the mappings' data sequence numbers from the smallest up, of 8 octets and of 4."""
    dsn = data["dsn"].to_numpy()
    flags = data["dss_flags"].to_numpy()
    # The mapping that MP_CAPABLE implies comes without DSS flags and has 8 octets.
    is_long = (flags & DSS_MAP8 > 0) | (flags & DSS_MAP == 0)
    base = dsn[is_long][0] if is_long.any() else dsn[0]
    relative = (dsn - base).view(np.int64)
    if not is_long.all():
        low = (relative & 0xFFFFFFFF).astype(np.uint32)
        relative = np.where(is_long, relative, _unwrap(low, 0))
    return np.asarray(relative - relative.min())


def _place_unmapped(position: Int64, relative: Int64, mapped: Int64, unmapped: Int64) -> None:
    """Place packets without a mapping by the nearest mapping on their subflow, mostly before.

    Such packets are the rest of a mapping whose option only its first segment carries, or follow
    an infinite mapping (RFC 8684 section 3.7).
    """
    if not mapped.size:
        position[unmapped] = -1
        return
    order = mapped[np.argsort(relative[mapped], kind="stable")]
    place = np.searchsorted(relative[order], relative[unmapped], side="right") - 1
    nearest = order[np.maximum(place, 0)]
    position[unmapped] = position[nearest] + relative[unmapped] - relative[nearest]


def _pieces(start: Int64, size: Int64) -> tuple[Int64, Int64, Int64]:
    """Cut a stream where any packet begins or ends.

    Returns:
        (piece, packet, bounds): pairs of a piece and a packet that covers it, packets in order;
        piece i is the bytes bounds[i] to bounds[i + 1].
    """
    bounds = np.sort(np.concatenate([start, start + size]))  # np.unique hashes: 10 times slower
    bounds = bounds[np.append(np.diff(bounds) > 0, True)] if bounds.size else bounds
    first, last = np.searchsorted(bounds, start), np.searchsorted(bounds, start + size)
    count = last - first
    packet = np.repeat(np.arange(start.size), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within, packet, bounds


def _new_bytes(start: Int64, size: Int64, stream: pd.Series) -> Int64:
    """Return how many bytes of each packet no earlier packet of the same stream brought."""
    new = np.zeros(start.size, dtype=np.int64)
    for indices in stream.groupby(stream, sort=False).indices.values():
        rows = np.asarray(indices)
        piece, packet, bounds = _pieces(start[rows], size[rows])
        _, first = np.unique(piece, return_index=True)  # pairs are in order of time
        brought = np.diff(bounds)[piece[first]]
        new[rows] = np.bincount(packet[first], weights=brought, minlength=rows.size)
    return new


def _deliver(part: pd.DataFrame) -> pd.DataFrame:
    """Return the in-order deliveries of one connection."""
    size = part["payload_bytes"].to_numpy().astype(np.int64)
    piece, packet, bounds = _pieces(part["position"].to_numpy(), size)
    pieces, first = np.unique(piece, return_index=True)
    bringer = packet[first]
    # Pieces are in stream order; a hole ends what can be read.
    whole = int(np.argmax(np.append(np.diff(pieces), 2) != 1)) + 1
    pieces, bringer = pieces[:whole], np.maximum.accumulate(bringer[:whole])
    usable, where = np.unique(bringer, return_inverse=True)
    total = np.bincount(where, weights=np.diff(bounds)[pieces])
    return part.iloc[usable].assign(bytes=total.astype(np.int64))
