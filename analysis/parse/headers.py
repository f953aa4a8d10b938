# SPDX-License-Identifier: Apache-2.0
"""Read the link, IP and TCP headers of many packets at once.

Layouts: IPv4 RFC 791 section 3.1, IPv6 RFC 8200 section 3, TCP RFC 9293 section 3.1, VLAN tags
IEEE 802.1Q, link types https://www.tcpdump.org/linktypes.html.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.parse.places import Bytes, Int64, Records, take_rows
from testbed.errors import RunInvalid

PACKET = np.dtype(
    [
        ("t_ns", "i8"),  # Unix time
        ("dsn", "u8"),  # data sequence number of the mapping; 32 bits if dss_flags lack 0x08
        ("data_ack", "u8"),  # 32 bits if dss_flags lack 0x02
        ("wire_bytes", "u4"),  # the frame's length on the link
        ("ip_bytes", "u4"),  # the IP packet's length
        ("payload_bytes", "u4"),  # TCP payload
        ("src", "u4"),  # IPv4 address, or a number of `Addresses` where ip_version is 6
        ("dst", "u4"),
        ("seq", "u4"),
        ("ack", "u4"),
        ("ssn", "u4"),  # subflow sequence number of the mapping, relative to the SYN's
        ("sport", "u2"),
        ("dport", "u2"),
        ("flags", "u2"),  # the 12 bits after the data offset
        ("window", "u2"),  # as sent, not scaled
        ("map_bytes", "u2"),  # length of the mapping
        ("mptcp", "u2"),  # bit n: an MPTCP option of subtype n is present
        ("dss_flags", "u1"),
        ("mapped", "u1"),  # 1: dsn, ssn and map_bytes hold a mapping
        ("ip_version", "u1"),  # 4, 6, or 0: not IP
        ("protocol", "u1"),  # of the IP header
        ("tcp_header_bytes", "u1"),  # 0: no TCP header, the columns of TCP hold nothing
    ]
)
PROTOCOL_TCP = 6
# Link type -> (bytes of the link header, place of the EtherType in it).
LINKS = {1: (14, 12), 113: (16, 14), 276: (20, 0)}
RAW_LINKS = (12, 101)
ETHERTYPE_VLAN = (0x8100, 0x88A8)
IPV4_BYTES, IPV6_BYTES, TCP_BYTES, TCP_MAX_BYTES = 20, 40, 20, 60

IPV4 = np.dtype(
    {
        "names": ["first", "length", "fragment", "protocol", "src", "dst"],
        "formats": ["u1", ">u2", ">u2", "u1", ">u4", ">u4"],
        "offsets": [0, 2, 6, 9, 12, 16],
        "itemsize": 40,
    }
)
IPV6 = np.dtype(
    {
        "names": ["length", "protocol", "src", "dst"],
        "formats": [">u2", "u1", "V16", "V16"],
        "offsets": [4, 6, 8, 24],
        "itemsize": 40,
    }
)
# The rows are wider than a TCP header: an option field may be read past its end, then masked.
ROW_BYTES = 76
TCP = np.dtype(
    {
        "names": ["sport", "dport", "seq", "ack", "offset_flags", "window"],
        "formats": [">u2", ">u2", ">u4", ">u4", ">u2", ">u2"],
        "offsets": [0, 2, 4, 8, 12, 14],
        "itemsize": ROW_BYTES,
    }
)


class Addresses:
    """Number the IPv6 addresses of a capture, so that every address fits 32 bits."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}

    def number(self, addresses: npt.NDArray[np.void]) -> npt.NDArray[np.uint32]:
        """Return the number of each 16-byte address; equal addresses share one."""
        raw = addresses.tobytes()
        parts = [raw[place : place + 16] for place in range(0, len(raw), 16)]
        numbers = [self.known.setdefault(part, len(self.known)) for part in parts]
        return np.array(numbers, dtype=np.uint32)


class Segments(NamedTuple):
    """The TCP segments among some packets: n, with the bytes of their headers."""

    packet: Int64  # index in the table of packets
    rows: Bytes  # n x ROW_BYTES, from the first byte of the TCP header
    option_end: Int64  # where the captured options end in the row, 20 to 60


def parse_headers(
    data: Bytes, records: Records, addresses: Addresses
) -> tuple[npt.NDArray[np.void], Segments]:
    """Return a PACKET table whose MPTCP columns are zero, and the TCP segments in it.

    A packet cut inside its IP header counts as not IP; one cut inside the first 20 bytes of TCP
    keeps its IP columns only. IPv6 extension headers are not followed.

    Raises:
        RunInvalid: the link type is not one of Ethernet, Linux cooked (1, 2) and raw IP.
    """
    packets = np.zeros(records.start.size, dtype=PACKET)
    packets["t_ns"] = records.t_ns
    packets["wire_bytes"] = records.wire
    skip = _link_bytes(data, records)
    start, left = records.start + skip, records.captured - skip
    header_bytes = _fill_ip(packets, take_rows(data, start, IPV6_BYTES), left, addresses)
    # Length 0 is what a capture shows of a segment that the card was to cut (TSO).
    on_wire = packets["ip_bytes"] == 0
    if on_wire.any():
        packets["ip_bytes"][on_wire] = np.maximum(records.wire - skip, 0)[on_wire]
    packets["ip_bytes"][packets["ip_version"] == 0] = 0
    is_tcp = (header_bytes > 0) & (left - header_bytes >= TCP_BYTES)
    where = np.flatnonzero(is_tcp & (packets["protocol"] == PROTOCOL_TCP))
    at = Places(where, start[where] + header_bytes[where], (left - header_bytes)[where])
    return packets, _fill_tcp(packets, data, at, header_bytes[where])


class Places(NamedTuple):
    """Where TCP headers are: index of the packet, offset in the file, captured bytes from it."""

    packet: Int64
    start: Int64
    left: Int64


def _link_bytes(data: Bytes, records: Records) -> Int64:
    """Return the length of each link header, VLAN tags included."""
    count = records.start.size
    if records.link_type in RAW_LINKS:
        return np.zeros(count, dtype=np.int64)
    if records.link_type not in LINKS:
        raise RunInvalid(f"captures of link type {records.link_type} are not read, use Ethernet")
    length, place = LINKS[records.link_type]
    skip = np.full(count, length, dtype=np.int64)
    kind = take_rows(data, records.start + place, 2).view(">u2").ravel()
    tagged = np.flatnonzero(np.isin(kind, ETHERTYPE_VLAN))
    while tagged.size:
        skip[tagged] += 4
        kind = take_rows(data, records.start[tagged] + skip[tagged] - 2, 2).view(">u2").ravel()
        inside = skip[tagged] < records.captured[tagged]
        tagged = tagged[np.isin(kind, ETHERTYPE_VLAN) & inside]
    return skip


def _fill_ip(
    packets: npt.NDArray[np.void], rows: Bytes, left: Int64, addresses: Addresses
) -> Int64:
    """Fill the IP columns; return each IP header's length, 0 where no transport header follows."""
    version = rows[:, 0] >> 4
    four = (version == 4) & (left >= IPV4_BYTES) & (rows[:, 0] & 15 >= 5)
    six = (version == 6) & (left >= IPV6_BYTES)
    header = rows.view(IPV4).ravel()
    packets["ip_version"] = np.where(four, 4, 0)
    packets["protocol"] = header["protocol"]
    packets["ip_bytes"] = header["length"]
    packets["src"], packets["dst"] = header["src"], header["dst"]
    # The offset of a fragment: only the first one begins with a transport header.
    is_first = header["fragment"] & 0x1FFF == 0
    header_bytes = np.where(four & is_first, (rows[:, 0] & 15).astype(np.int64) * 4, 0)
    if not four.all():
        for name in ("protocol", "ip_bytes", "src", "dst"):
            packets[name][~four] = 0
        where = np.flatnonzero(six)
        _fill_ipv6(packets, where, rows[where].view(IPV6).ravel(), addresses)
        header_bytes[where] = IPV6_BYTES
    return header_bytes


def _fill_ipv6(
    packets: npt.NDArray[np.void],
    where: Int64,
    header: npt.NDArray[np.void],
    addresses: Addresses,
) -> None:
    """Fill the IP columns of the IPv6 packets at `where`."""
    packets["ip_version"][where] = 6
    packets["protocol"][where] = header["protocol"]
    length = header["length"].astype(np.uint32)
    packets["ip_bytes"][where] = np.where(length > 0, length + IPV6_BYTES, 0)
    packets["src"][where] = addresses.number(header["src"])
    packets["dst"][where] = addresses.number(header["dst"])


def _fill_tcp(
    packets: npt.NDArray[np.void], data: Bytes, at: Places, ip_header_bytes: Int64
) -> Segments:
    """Fill the TCP columns of the packets at `at`."""
    rows = take_rows(data, at.start, ROW_BYTES)
    header = rows.view(TCP).ravel()
    length = (header["offset_flags"] >> 12).astype(np.int64) * 4
    everything = at.packet.size == packets.size
    where = slice(None) if everything else at.packet
    for name in ("sport", "dport", "seq", "ack", "window"):
        packets[name][where] = header[name]
    packets["flags"][where] = header["offset_flags"] & 0x0FFF
    packets["tcp_header_bytes"][where] = np.maximum(length, TCP_BYTES)
    ip_bytes = packets["ip_bytes"][where].astype(np.int64)
    packets["payload_bytes"][where] = np.maximum(ip_bytes - ip_header_bytes - length, 0)
    option_end = np.clip(np.minimum(length, at.left), TCP_BYTES, TCP_MAX_BYTES)
    return Segments(at.packet, rows, option_end)
