# SPDX-License-Identifier: Apache-2.0
"""Find the packets of a pcapng file, for captures that did not come from our own collector.

Block layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html section 4. Our
tcpdump writes pcap, so this walks block by block in Python.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from analysis.parse.places import Bytes, Records
from testbed.errors import RunInvalid

SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
BLOCK_INTERFACE, BLOCK_SIMPLE, BLOCK_ENHANCED = 1, 3, 6
OPTION_RESOLUTION, OPTION_OFFSET = 9, 14
BATCH = 1 << 18  # packets per yield


class Interface(NamedTuple):
    """One interface description: link type, units per second, seconds to add."""

    link_type: int
    snaplen: int
    per_second: int
    offset_s: int


class Place(NamedTuple):
    """One packet; the columns of Records."""

    start: int
    captured: int
    wire: int
    t_ns: int


def iter_records(data: Bytes) -> Iterator[Records]:
    """Yield the packets, a new batch whenever the link type changes.

    Raises:
        RunInvalid: a block is impossible, or a packet names an interface that is not described.
    """
    batch: list[Place] = []
    link_type = -1
    for interface, place in _iter_places(data):
        if batch and (interface.link_type != link_type or len(batch) == BATCH):
            yield _pack(batch, link_type)
            batch = []
        link_type = interface.link_type
        batch.append(place)
    if batch:
        yield _pack(batch, link_type)


def _pack(batch: list[Place], link_type: int) -> Records:
    columns = np.array(batch, dtype=np.int64).T
    return Records(columns[0], columns[1], columns[2], columns[3], link_type)


def _iter_places(data: Bytes) -> Iterator[tuple[Interface, Place]]:
    """Walk the blocks; a block that the end of the file cuts off ends the walk."""
    memory, position, end = data.data, 0, data.nbytes
    order, interfaces = "<", list[Interface]()
    while position + 12 <= end:
        if bytes(memory[position : position + 4]) == SECTION_HEADER:
            order, interfaces = _byte_order(memory, position), []
        kind, size = struct.unpack_from(order + "II", memory, position)
        if size < 12 or size % 4:
            raise RunInvalid(f"the block at byte {position} claims a length of {size} bytes")
        if position + size > end:
            return
        if kind == BLOCK_INTERFACE:
            interfaces.append(_interface(memory, order, position, size))
        elif kind in (BLOCK_ENHANCED, BLOCK_SIMPLE):
            yield _packet(memory, order, position, size, interfaces)
        position += size


def _byte_order(memory: memoryview, position: int) -> str:
    magic = bytes(memory[position + 8 : position + 12])
    orders = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
    if magic not in orders:
        raise RunInvalid(f"the section at byte {position} has the byte order mark {magic.hex()}")
    return orders[magic]


def _interface(memory: memoryview, order: str, position: int, size: int) -> Interface:
    if size < 20:
        raise RunInvalid(f"the interface block at byte {position} has {size} bytes, too few")
    link_type, _, snaplen = struct.unpack_from(order + "HHI", memory, position + 8)
    per_second, offset_s = 1_000_000, 0
    place, end = position + 16, position + size - 4
    while place + 4 <= end:
        code, length = struct.unpack_from(order + "HH", memory, place)
        value = memory[place + 4 : min(place + 4 + length, end)]
        if code == OPTION_RESOLUTION and len(value) == 1:
            # The highest bit chooses between powers of 10 and of 2.
            per_second = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == OPTION_OFFSET and len(value) == 8:
            (offset_s,) = struct.unpack(order + "q", value)
        place += 4 + (length + 3) // 4 * 4
    return Interface(link_type, snaplen, per_second, offset_s)


def _packet(
    memory: memoryview, order: str, position: int, size: int, interfaces: list[Interface]
) -> tuple[Interface, Place]:
    (kind,) = struct.unpack_from(order + "I", memory, position)
    head = 32 if kind == BLOCK_ENHANCED else 16
    if size < head:
        raise RunInvalid(f"the packet block at byte {position} has {size} bytes, too few")
    number = high = low = 0
    if kind == BLOCK_ENHANCED:
        number, high, low, captured, wire = struct.unpack_from(order + "5I", memory, position + 8)
    else:
        (wire,) = struct.unpack_from(order + "I", memory, position + 8)
    if number >= len(interfaces):
        raise RunInvalid(f"the packet at byte {position} is of an interface not described")
    interface = interfaces[number]
    if kind == BLOCK_SIMPLE:
        captured = min(wire, interface.snaplen or wire)
    captured = min(captured, size - head)
    t_ns = ((high << 32) | low) * 1_000_000_000 // interface.per_second
    t_ns += interface.offset_s * 1_000_000_000
    # An impossible clock must not overflow the column.
    t_ns = max(min(t_ns, 2**63 - 1), -(2**63))
    return interface, Place(position + head - 4, captured, wire, t_ns)
