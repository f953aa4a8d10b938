# SPDX-License-Identifier: Apache-2.0
"""Read what a middlebox counted in its set `connections`: in the end, and over time.

In the end: `nft -j list ruleset`. Over time: records `struct "<QI"` of the Unix time in ns and a
length, each with the kernel's answer to a request for the set's elements
(include/uapi/linux/netfilter/nf_tables.h).
"""

import ipaddress
import json
import struct
from collections.abc import Iterator

from analysis.parse.ss import MESSAGE, attributes
from testbed.errors import RunInvalid

RECORD = struct.Struct("<QI")
NEWSETELEM = 10 << 8 | 12  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWSETELEM
GENERAL_BYTES = 4
ELEMENTS, KEY, EXPRESSION, EXPRESSIONS, VALUE, DATA, COUNTER_BYTES = 3, 1, 7, 11, 1, 2, 1
LIST_ELEMENT = 1
# Address, port, address, port, each in a register of four bytes.
CONNECTION = struct.Struct("!4sHxx4sHxx")


def parse_nft(data: bytes) -> dict[str, int]:
    """Return bytes per direction of a connection, "address:port > address:port".

    Raises:
        RunInvalid: it is not what nft writes.
    """
    found: dict[str, int] = {}
    try:
        for entry in json.loads(data)["nftables"]:
            for element in (entry.get("set") or {}).get("elem", []):
                source, sport, target, tport = element["elem"]["val"]["concat"]
                key = _connection(source, sport, target, tport)
                found[key] = int(element["elem"]["counter"]["bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunInvalid(f"it is no rule set with counted connections ({error})") from error
    return found


def _connection(source: str | int, sport: int, target: str | int, tport: int) -> str:
    """Return a name; addresses that nft read out of raw bytes are numbers."""
    return f"{ipaddress.ip_address(source)}:{sport} > {ipaddress.ip_address(target)}:{tport}"


def parse_inspection(data: bytes) -> list[tuple[int, str, int]]:
    """Return Unix time in ns, direction of a connection and bytes by then, of each sample.

    Raises:
        RunInvalid: the log is cut off or malformed.
    """
    found, at = [], 0
    while at < len(data):
        if at + RECORD.size > len(data):
            raise RunInvalid(f"the log ends inside a record, at byte {at}")
        t_ns, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length > len(data):
            raise RunInvalid(f"the log ends inside a record, at byte {at}")
        found += [(t_ns, name, size) for name, size in _elements(data[at : at + length])]
        at += length
    return found


def _elements(messages: bytes) -> Iterator[tuple[str, int]]:
    at = 0
    while at + MESSAGE.size <= len(messages):
        length, kind, _, _, _ = MESSAGE.unpack_from(messages, at)
        if length < MESSAGE.size:
            raise RunInvalid(f"a message of the log claims a length of {length} bytes")
        if kind == NEWSETELEM:
            said = attributes(messages[at + MESSAGE.size + GENERAL_BYTES : at + length])
            yield from map(_element, each(said.get(ELEMENTS, b"")))
        at += (length + 3) & ~3


def each(data: bytes) -> Iterator[bytes]:
    """Yield the values of a list of attributes of one type."""
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        if length < 4:
            return
        yield data[at + 4 : at + length]
        at += (length + 3) & ~3


def _element(data: bytes) -> tuple[str, int]:
    said = attributes(data)
    raw = attributes(said[KEY])[VALUE]
    source, sport, target, tport = CONNECTION.unpack(raw)
    expression = said.get(EXPRESSION) or next(each(said[EXPRESSIONS]))
    counter = attributes(attributes(expression)[DATA])
    name = _connection(int.from_bytes(source), sport, int.from_bytes(target), tport)
    return name, int.from_bytes(counter[COUNTER_BYTES])
