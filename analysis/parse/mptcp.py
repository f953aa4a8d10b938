# SPDX-License-Identifier: Apache-2.0
"""Read the MPTCP options (RFC 8684 section 3) of many TCP segments at once.

DSS options are on every packet and go to columns of the packet table. The others are rare, say
what the path manager did, and become `Event`s.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.parse.headers import ROW_BYTES, TCP_BYTES, Segments
from analysis.parse.places import Int64, field_view

OPTION_END, OPTION_NOP, OPTION_MPTCP = 0, 1, 30  # RFC 9293 section 3.1, RFC 8684 section 8.1
# NOP, NOP, timestamps (RFC 7323 appendix A): how nearly every data segment begins.
NOP_NOP_TIMESTAMPS, TIMESTAMPS_BYTES = 0x0101080A, 12

# RFC 8684 section 8.2.
SUBTYPES = (
    "MP_CAPABLE",
    "MP_JOIN",
    "DSS",
    "ADD_ADDR",
    "REMOVE_ADDR",
    "MP_PRIO",
    "MP_FAIL",
    "MP_FASTCLOSE",
    "MP_TCPRST",
)
MP_CAPABLE, MP_JOIN, DSS, ADD_ADDR, REMOVE_ADDR, MP_PRIO, MP_FAIL, MP_FASTCLOSE, MP_TCPRST = range(
    9
)
# Flags of a DSS, RFC 8684 figure 9.
DSS_ACK, DSS_ACK8, DSS_MAP, DSS_MAP8, DSS_DATA_FIN = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Event:
    """One MPTCP option other than a DSS; a field is None where the option does not have it.

    Attributes:
        packet: index of the packet in the table of packets.
        version: of MP_CAPABLE.
        flags: the option's flag bits, as far down as they go; for ADD_ADDR bit 0 is the echo,
            for MP_JOIN and MP_PRIO bit 0 is "backup".
        token: MP_JOIN: which connection is joined, the receiver's token.
        address: ADD_ADDR: the address in text form.
        address_ids: of MP_JOIN, ADD_ADDR (one) and REMOVE_ADDR (one or more).
        dsn: MP_FAIL: data sequence number of the failed mapping.
        reason: MP_TCPRST: RFC 8684 section 3.6.
    """

    packet: int
    t_ns: int
    subtype: str
    version: int | None = None
    flags: int | None = None
    sender_key: int | None = None
    receiver_key: int | None = None
    token: int | None = None
    nonce: int | None = None
    hmac: str | None = None
    address_ids: tuple[int, ...] = ()
    address: str | None = None
    port: int | None = None
    map_bytes: int | None = None
    dsn: int | None = None
    reason: int | None = None


class Options(NamedTuple):
    """MPTCP options found: row of the segment, place in the row, length; n each."""

    row: Int64
    place: Int64
    length: Int64


def token_of(key: int) -> int:
    """Return the token of a key: the first 32 bits of its SHA-256 (RFC 8684 section 3.2)."""
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big")).digest()[:4], "big")


def initial_dsn_of(key: int) -> int:
    """Return the initial data sequence number: the last 64 bits (RFC 8684 section 3.1)."""
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big")).digest()[-8:], "big")


def parse_options(
    packets: npt.NDArray[np.void], segments: Segments, first_packet: int = 0
) -> list[Event]:
    """Fill the MPTCP columns of `packets` in place and return the other options' events.

    Args:
        packets: a PACKET table.
        segments: the TCP segments in it.
        first_packet: what to add to the index of a packet in its event.

    Options that are cut off, or whose length is not one the RFC gives, set their subtype's bit and
    are otherwise passed over.
    """
    flat = segments.rows.reshape(-1)
    options = _find_options(segments)
    at = options.row * ROW_BYTES + options.place
    subtype = (flat[at + 2] >> 4).astype(np.int64)
    for one in np.flatnonzero(np.bincount(subtype)):
        packets["mptcp"][segments.packet[options.row[subtype == one]]] |= np.uint16(1 << one)
    is_dss = subtype == DSS
    _fill_dss(packets, segments, Options(*(column[is_dss] for column in options)))
    events = []
    others = np.flatnonzero(~is_dss)
    others = others[np.argsort(options.row[others], kind="stable")]
    for row, place, length in zip(*(column[others] for column in options), strict=True):
        option = segments.rows[row, place : place + length].tobytes()
        packet = int(segments.packet[row])
        event = parse_event(option, first_packet + packet, int(packets["t_ns"][packet]))
        if event is not None:
            _fill_first_mapping(packets[packet : packet + 1], event)
            events.append(event)
    return events


def _find_options(segments: Segments) -> Options:
    """Walk the options of all segments in step; return the MPTCP ones, each segment's in order."""
    flat = segments.rows.reshape(-1)
    row = np.flatnonzero(segments.option_end > TCP_BYTES)
    end = segments.option_end[row]
    word = field_view(flat, 0, ">u4")[row * ROW_BYTES + TCP_BYTES] if row.size else end
    place = np.where(word == NOP_NOP_TIMESTAMPS, TCP_BYTES + TIMESTAMPS_BYTES, TCP_BYTES)
    found: list[Options] = []
    while row.size:
        alive = place + 3 <= end  # the shortest MPTCP option has 3 bytes
        row, place, end = row[alive], place[alive], end[alive]
        at = row * ROW_BYTES + place
        kind = flat[at]
        length = np.where(kind == OPTION_NOP, 1, flat[at + 1]).astype(np.int64)
        fits = (place + length <= end) & (kind != OPTION_END)
        fits &= (length >= 2) | (kind == OPTION_NOP)
        mine = fits & (kind == OPTION_MPTCP) & (length >= 3)
        found.append(Options(row[mine], place[mine], length[mine]))
        row, place, end = row[fits], (place + length)[fits], end[fits]
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else [row] * 3
    return Options(*columns)


def _fill_dss(packets: npt.NDArray[np.void], segments: Segments, options: Options) -> None:
    """Fill data_ack, dsn, ssn, map_bytes and dss_flags from DSS options (RFC 8684 figure 9)."""
    keep = options.length >= 4
    row, place, length = (column[keep] for column in options)
    at = row * ROW_BYTES + place
    flat = segments.rows.reshape(-1)
    flags = flat[at + 3]
    has_ack, has_map = flags & DSS_ACK > 0, flags & DSS_MAP > 0
    ack_bytes = np.where(has_ack, np.where(flags & DSS_ACK8 > 0, 8, 4), 0)
    dsn_bytes = np.where(has_map, np.where(flags & DSS_MAP8 > 0, 8, 4), 0)
    good = length >= 4 + ack_bytes + dsn_bytes + np.where(has_map, 6, 0)
    packet = segments.packet[row]
    packets["dss_flags"][packet] = flags
    eight, four, two = (field_view(flat, 0, f">u{size}") for size in (8, 4, 2))
    for column, bytes_, place_ in (
        ("data_ack", ack_bytes, at + 4),
        ("dsn", dsn_bytes, at + 4 + ack_bytes),
    ):
        for size, view in ((8, eight), (4, four)):
            some = good & (bytes_ == size)
            if some.any():
                packets[column][packet[some]] = view[place_[some]]
    some = good & has_map
    rest = (at + 4 + ack_bytes + dsn_bytes)[some]
    packets["ssn"][packet[some]] = four[rest]
    packets["map_bytes"][packet[some]] = two[rest + 4]
    packets["mapped"][packet[some]] = 1


def _fill_first_mapping(row: npt.NDArray[np.void], event: Event) -> None:
    """Fill the mapping that an MP_CAPABLE with data implies (RFC 8684 section 3.1)."""
    if event.subtype == "MP_CAPABLE" and event.map_bytes and event.sender_key is not None:
        row["dsn"] = (initial_dsn_of(event.sender_key) + 1) % 2**64
        row["ssn"], row["map_bytes"], row["mapped"] = 1, event.map_bytes, 1


def parse_event(option: bytes, packet: int, t_ns: int) -> Event | None:
    """Parse one option of a subtype other than DSS, from its kind byte on.

    Returns:
        None for an unknown subtype or a length that the RFC does not give.
    """
    subtype = option[2] >> 4
    if subtype not in FIELDS:
        return None
    fields = FIELDS[subtype](option)
    if fields is None:
        return None
    return Event(packet, t_ns, SUBTYPES[subtype], **fields)  # type: ignore[arg-type]


Fields = dict[str, object]


def _number(option: bytes, first: int, count: int) -> int:
    return int.from_bytes(option[first : first + count], "big")


def _capable(option: bytes) -> Fields | None:
    """MP_CAPABLE, section 3.1: SYN 4, SYN/ACK 12, ACK 20, with data 22 or 24 (checksum)."""
    if len(option) not in (4, 12, 20, 22, 24):
        return None
    fields: Fields = {"version": option[2] & 15, "flags": option[3]}
    if len(option) >= 12:
        fields["sender_key"] = _number(option, 4, 8)
    if len(option) >= 20:
        fields["receiver_key"] = _number(option, 12, 8)
    if len(option) >= 22:
        fields["map_bytes"] = _number(option, 20, 2)
    return fields


def _join(option: bytes) -> Fields | None:
    """MP_JOIN, section 3.2: SYN 12, SYN/ACK 16, ACK 24."""
    if len(option) not in (12, 16, 24):
        return None
    if len(option) == 24:
        return {"hmac": option[4:].hex()}
    fields: Fields = {"flags": option[2] & 15, "address_ids": (option[3],)}
    if len(option) == 12:
        return fields | {"token": _number(option, 4, 4), "nonce": _number(option, 8, 4)}
    return fields | {"hmac": option[4:12].hex(), "nonce": _number(option, 12, 4)}


def _add_addr(option: bytes) -> Fields | None:
    """ADD_ADDR, section 3.4.1: id, address, maybe a port, and an HMAC unless it is an echo."""
    is_echo = option[2] & 1
    body = len(option) - 4 - (0 if is_echo else 8)
    if body not in (4, 6, 16, 18):
        return None
    size = 4 if body < 16 else 16
    address = ipaddress.ip_address(option[4 : 4 + size])
    fields: Fields = {"flags": is_echo, "address_ids": (option[3],), "address": str(address)}
    if body > size:
        fields["port"] = _number(option, 4 + size, 2)
    if not is_echo:
        fields["hmac"] = option[-8:].hex()
    return fields


def _remove_addr(option: bytes) -> Fields | None:
    """REMOVE_ADDR, section 3.4.2: a list of address ids."""
    return {"address_ids": tuple(option[3:])} if len(option) > 3 else None


def _prio(option: bytes) -> Fields | None:
    """MP_PRIO, section 3.3.8."""
    return {"flags": option[2] & 1} if len(option) == 3 else None


def _fail(option: bytes) -> Fields | None:
    """MP_FAIL, section 3.7."""
    return {"dsn": _number(option, 4, 8)} if len(option) == 12 else None


def _fastclose(option: bytes) -> Fields | None:
    """MP_FASTCLOSE, section 3.5."""
    return {"receiver_key": _number(option, 4, 8)} if len(option) == 12 else None


def _tcprst(option: bytes) -> Fields | None:
    """MP_TCPRST, section 3.6; the last flag bit is "transient"."""
    return {"flags": option[2] & 15, "reason": option[3]} if len(option) == 4 else None


FIELDS = {
    MP_CAPABLE: _capable,
    MP_JOIN: _join,
    ADD_ADDR: _add_addr,
    REMOVE_ADDR: _remove_addr,
    MP_PRIO: _prio,
    MP_FAIL: _fail,
    MP_FASTCLOSE: _fastclose,
    MP_TCPRST: _tcprst,
}
