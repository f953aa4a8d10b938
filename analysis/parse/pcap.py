# SPDX-License-Identifier: Apache-2.0
"""Read a packet capture into a table of packets and a list of MPTCP events.

tshark takes minutes for what one download leaves behind; this reads over a million packets per
second, in chunks, so that a capture of several GB needs no more memory than a small one.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.parse.headers import PACKET, Addresses, parse_headers
from analysis.parse.mptcp import Event, parse_options
from analysis.parse.records import iter_records

CHUNK_PACKETS = 1 << 14  # the headers of one chunk fit the second level cache


class Chunk(NamedTuple):
    """Some packets in file order (dtype PACKET) and the MPTCP events among them."""

    packets: npt.NDArray[np.void]
    events: list[Event]
    first_packet: int  # place of packets[0] in the file
    addresses6: list[bytes]  # what the numbers in src and dst mean for IPv6, so far


def iter_packets(
    data: bytes | memoryview | npt.NDArray[np.uint8], chunk_packets: int = CHUNK_PACKETS
) -> Iterator[Chunk]:
    """Yield the packets of a pcap or pcapng file, chunk by chunk.

    Args:
        data: the file's bytes; a memoryview of an mmap serves files that are larger than memory.
        chunk_packets: packets per chunk, at most.

    Raises:
        RunInvalid: the file is malformed. A file that ends inside a record is not.
    """
    array = np.frombuffer(data, dtype=np.uint8)
    addresses, done = Addresses(), 0
    for records in iter_records(array):
        for first in range(0, records.start.size, chunk_packets):
            some = records.part(slice(first, first + chunk_packets))
            packets, segments = parse_headers(array, some, addresses)
            events = parse_options(packets, segments, first_packet=done)
            yield Chunk(packets, events, done, list(addresses.known))
            done += packets.size


def read_packets(data: bytes | memoryview | npt.NDArray[np.uint8]) -> Chunk:
    """Return a whole capture as one chunk; for what fits in memory.

    Raises:
        RunInvalid: the file is malformed.
    """
    chunks = list(iter_packets(data))
    if not chunks:
        return Chunk(np.zeros(0, dtype=PACKET), [], 0, [])
    packets = np.concatenate([chunk.packets for chunk in chunks])
    events = [event for chunk in chunks for event in chunk.events]
    return Chunk(packets, events, 0, chunks[-1].addresses6)
