# SPDX-License-Identifier: Apache-2.0
"""IPv4 packets with a TCP segment (RFC 791, RFC 9293): taken apart, changed, put together."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
TCP_HEADER = struct.Struct("!HHIIBBHHH")
TCP = 6
END, NOP, MSS, SACK, MPTCP = 0, 1, 2, 5, 30
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
MODULO = 1 << 32

# Subtypes of the option MPTCP (RFC 8684, section 8).
MP_CAPABLE, MP_JOIN, DSS, ADD_ADDR = 0, 1, 2, 3


@dataclass(frozen=True)
class Option:
    """A TCP option; what follows its kind and length."""

    kind: int
    data: bytes = b""

    @property
    def subtype(self) -> int | None:
        """The subtype of the option MPTCP; None of any other."""
        return self.data[0] >> 4 if self.kind == MPTCP and self.data else None

    @property
    def size(self) -> int:
        """How many bytes of the header it takes."""
        return 1 if self.kind == NOP else 2 + len(self.data)


@dataclass(frozen=True)
class Segment:
    """A TCP segment in its IPv4 packet.

    Attributes:
        source, target: addresses, 4 bytes each.
        fragment: flags and fragment offset of IP.
        reserved: the four bits beside TCP's data offset.
        padding: what follows the option END.
    """

    source: bytes
    target: bytes
    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes = b""
    options: tuple[Option, ...] = ()
    urgent: int = 0
    reserved: int = 0
    padding: bytes = b""
    ttl: int = 64
    service: int = 0
    identification: int = 0
    fragment: int = 0x4000
    ip_options: bytes = b""

    @property
    def length(self) -> int:
        """How many sequence numbers it takes."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    @property
    def end(self) -> int:
        """The sequence number after it."""
        return (self.seq + self.length) % MODULO

    def has(self, subtype: int) -> bool:
        """Say whether it has an option MPTCP of a subtype."""
        return any(option.subtype == subtype for option in self.options)

    def is_syn(self) -> bool:
        """Say whether it is the first of its direction, SYN/ACK included."""
        return bool(self.flags & SYN)


def parse(packet: bytes) -> Segment | None:
    """Take a packet apart; None if it is no whole IPv4 packet with a TCP header."""
    if len(packet) < IP_HEADER.size or packet[0] >> 4 != 4:
        return None
    first, service, total, identification, fragment, ttl, protocol, _, source, target = (
        IP_HEADER.unpack_from(packet)
    )
    start = 4 * (first & 15)
    is_fragment = fragment & 0x3FFF
    if protocol != TCP or is_fragment or not IP_HEADER.size <= start <= total - TCP_HEADER.size:
        return None
    if total > len(packet):
        return None
    ports = TCP_HEADER.unpack_from(packet, start)
    source_port, target_port, seq, ack, offset, flags, window, _, urgent = ports
    begin = start + 4 * (offset >> 4)
    if not start + TCP_HEADER.size <= begin <= total:
        return None
    split = split_options(packet[start + TCP_HEADER.size : begin])
    if split is None:
        return None
    return Segment(
        source, target, source_port, target_port, seq, ack, flags, window,
        packet[begin:total], split[0], urgent, offset & 15, split[1],
        ttl, service, identification, fragment, packet[IP_HEADER.size : start],
    )  # fmt: skip


def split_options(data: bytes) -> tuple[tuple[Option, ...], bytes] | None:
    """Return the options of a TCP header and what follows their end; None if they are malformed."""
    found: list[Option] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == END:
            return tuple(found), data[at:]
        if kind == NOP:
            found.append(Option(NOP))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            return None
        found.append(Option(kind, data[at + 2 : at + length]))
        at += length
    return tuple(found), b""


def build(segment: Segment) -> bytes:
    """Return the packet, with its lengths and checksums."""
    options = b"".join(_option_bytes(option) for option in segment.options) + segment.padding
    options += bytes(-len(options) % 4)
    offset = (TCP_HEADER.size + len(options)) // 4
    tcp = bytearray(
        TCP_HEADER.pack(
            segment.source_port, segment.target_port, segment.seq, segment.ack,
            offset << 4 | segment.reserved, segment.flags, segment.window, 0, segment.urgent,
        )
    )  # fmt: skip
    tcp += options + segment.payload
    pseudo = segment.source + segment.target + struct.pack("!HH", TCP, len(tcp))
    struct.pack_into("!H", tcp, 16, checksum(pseudo + tcp))
    size = IP_HEADER.size + len(segment.ip_options)
    head = bytearray(
        IP_HEADER.pack(
            0x40 | size // 4, segment.service, size + len(tcp), segment.identification,
            segment.fragment, segment.ttl, TCP, 0, segment.source, segment.target,
        )
    )  # fmt: skip
    head += segment.ip_options
    struct.pack_into("!H", head, 10, checksum(head))
    return bytes(head + tcp)


def _option_bytes(option: Option) -> bytes:
    if option.kind == NOP:
        return b"\x01"
    return bytes((option.kind, option.size)) + option.data


def checksum(data: bytes | bytearray) -> int:
    """Return the Internet checksum (RFC 1071) of bytes, an odd one of which is padded."""
    # 2^16 is 1 modulo 2^16 - 1, so the one's complement sum of 16-bit words is the remainder of
    # the whole as one number; it is 0 of zeros only.
    whole = int.from_bytes(data + bytes(len(data) % 2), "big")
    total = whole % 0xFFFF or (0xFFFF if whole else 0)
    return 0xFFFF - total


def without_mptcp(segment: Segment, subtype: int) -> Segment:
    """Return a segment whose MPTCP options of a subtype are NOPs, of the same length."""

    def kept(option: Option) -> Iterator[Option]:
        if option.subtype == subtype:
            yield from [Option(NOP)] * option.size
        else:
            yield option

    return replace(segment, options=tuple(new for one in segment.options for new in kept(one)))


def shift_acknowledgements(segment: Segment, shift: int) -> Segment:
    """Add to what a segment acknowledges: in the header, and in the option SACK (RFC 2018)."""
    options = tuple(
        Option(SACK, _shifted(option.data, shift)) if option.kind == SACK else option
        for option in segment.options
    )
    ack = (segment.ack + shift) % MODULO if segment.flags & ACK else segment.ack
    return replace(segment, ack=ack, options=options)


def _shifted(edges: bytes, shift: int) -> bytes:
    count = len(edges) // 4
    values = struct.unpack_from(f"!{count}I", edges)
    return struct.pack(f"!{count}I", *((value + shift) % MODULO for value in values))


def limit_mss(segment: Segment, most: int) -> Segment:
    """Lower the option MSS of a segment, if it has one that is greater."""
    options = tuple(
        Option(MSS, struct.pack("!H", min(most, int.from_bytes(option.data, "big"))))
        if option.kind == MSS
        else option
        for option in segment.options
    )
    return replace(segment, options=options)


def after(first: int, second: int) -> int:
    """Return by how much the first of two sequence numbers is after the second; may be negative."""
    return (first - second + MODULO // 2) % MODULO - MODULO // 2


def text(address: bytes) -> str:
    """Return an address as people write it."""
    return socket.inet_ntoa(address)
