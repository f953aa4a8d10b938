# SPDX-License-Identifier: Apache-2.0
"""Look inside IPv6 packets with a segment routing header (SRv6, RFC 8754) around an IPv4 packet.

A packet as it is on the way between two segments: IPv6 header, whose next header is routing (43),
a routing header of type 4, whose next header is IPv4 (4), the packet of the hosts.
"""

import ipaddress
from typing import NamedTuple

import numpy as np

from analysis.parse.headers import IPV6_BYTES, LINKS
from analysis.parse.places import Bytes, Int64, Records, take_rows

NEXT_ROUTING, NEXT_IPV4, SEGMENT_ROUTING = 43, 4, 4
HEADER_BYTES, SEGMENT_BYTES = 8, 16
RAW_IP = 101
MAX_SEGMENTS = 8


class Wrapped(NamedTuple):
    """The wrapped packets of a capture.

    Attributes:
        inside: the hosts' packets, as records of a capture of raw IP.
        ip_bytes: of each with what it is wrapped in.
        segments_left: of each.
        lists: of each, the segments in the order in which they are visited.
    """

    inside: Records
    ip_bytes: Int64
    segments_left: Int64
    lists: list[tuple[str, ...]]


def wrapped_packets(data: Bytes, records: Records) -> Wrapped:
    """Return the packets that are wrapped and on their way by a segment list."""
    link_bytes = LINKS[records.link_type][0] if records.link_type in LINKS else 0
    start = records.start + link_bytes
    rows = take_rows(data, start, IPV6_BYTES + HEADER_BYTES)
    is_wrapped = (rows[:, 0] >> 4 == 6) & (rows[:, 6] == NEXT_ROUTING)
    is_wrapped &= (rows[:, IPV6_BYTES] == NEXT_IPV4) & (rows[:, IPV6_BYTES + 2] == SEGMENT_ROUTING)
    where = np.flatnonzero(is_wrapped)
    rows, begins = rows[where], start[where]
    skip = IPV6_BYTES + HEADER_BYTES + rows[:, IPV6_BYTES + 1].astype(np.int64) * 8
    length = rows[:, 4].astype(np.int64) << 8 | rows[:, 5]
    shorter = link_bytes + skip
    inside = Records(
        begins + skip,
        records.captured[where] - shorter,
        records.wire[where] - shorter,
        records.t_ns[where],
        RAW_IP,
    )
    counts = rows[:, IPV6_BYTES + 4].astype(np.int64) + 1
    lists = _lists(data, begins + IPV6_BYTES + HEADER_BYTES, counts)
    left = rows[:, IPV6_BYTES + 3].astype(np.int64)
    return Wrapped(inside, length + IPV6_BYTES, left, lists)


def _lists(data: Bytes, starts: Int64, counts: Int64) -> list[tuple[str, ...]]:
    """Return each list; there are few different ones, so each is put into words once."""
    rows = take_rows(data, starts, SEGMENT_BYTES * MAX_SEGMENTS)
    known: dict[bytes, tuple[str, ...]] = {}
    found = []
    for row, count in zip(rows, counts.tolist(), strict=True):
        raw = row[: count * SEGMENT_BYTES].tobytes()
        if raw not in known:
            known[raw] = _in_words(raw)
        found.append(known[raw])
    return found


def _in_words(raw: bytes) -> tuple[str, ...]:
    parts = [raw[at : at + SEGMENT_BYTES] for at in range(0, len(raw), SEGMENT_BYTES)]
    return tuple(str(ipaddress.ip_address(part)) for part in reversed(parts))
