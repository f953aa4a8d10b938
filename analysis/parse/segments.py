# SPDX-License-Identifier: Apache-2.0
"""Read a capture of whole packets into TCP segments, payload and options included.

For what tables cannot answer: whether a middlebox changed a segment. One download of a few MB, not
more; `pcap` is for the rest.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.parse.records import iter_records
from testbed import packet
from testbed.errors import RunInvalid
from testbed.packet import Segment

ETHERNET, ETHERNET_HEADER_BYTES, IPV4 = 1, 14, b"\x08\x00"


class Seen(NamedTuple):
    """A segment and when it was captured (Unix time; in Frames since the run's start)."""

    t_ns: int
    segment: Segment


def parse_segments(
    data: npt.NDArray[np.uint8], is_wanted: Callable[[Segment], bool] = lambda segment: True
) -> list[Seen]:
    """Return the TCP segments over IPv4 that are wanted, in file order.

    Raises:
        RunInvalid: it is no capture of Ethernet, or a TCP segment is not there as a whole.
    """
    found = []
    for records in iter_records(data):
        if records.link_type != ETHERNET:
            raise RunInvalid(f"it is a capture of link type {records.link_type}, not of Ethernet")
        for start, size, t_ns in zip(records.start, records.captured, records.t_ns, strict=True):
            frame = bytes(data[start : start + size])
            if frame[12:14] != IPV4 or frame[23:24] != bytes([packet.TCP]):
                continue
            segment = packet.parse(frame[ETHERNET_HEADER_BYTES:])
            if segment is None:
                raise RunInvalid("it has a TCP segment that is cut off; record more of each packet")
            if is_wanted(segment):
                found.append(Seen(int(t_ns), segment))
    return found
