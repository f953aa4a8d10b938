# SPDX-License-Identifier: Apache-2.0
"""Read the MPTCP events that the kernel sent over generic netlink.

Layout: include/uapi/linux/mptcp_pm.h and mptcp.h; ports are in network order.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.errors import RunInvalid
from testbed.netlink.mptcp_events import EVENTS

RECORD = struct.Struct("<QI")
NETLINK, GENERIC, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
TOKEN, LOCAL_ID, REMOTE_ID, SOURCE4, SOURCE6, TARGET4, TARGET6 = 1, 3, 4, 5, 6, 7, 8
SOURCE_PORT, TARGET_PORT, BACKUP, ERROR, INTERFACE, RESET_REASON = 9, 10, 11, 12, 15, 16


@dataclass(frozen=True)
class PathEvent:
    """One event; what an event does not say is None or "".

    Attributes:
        t_ns: Unix time of its receipt.
        event: one of EVENTS.
        token: of the connection, at this end.
        local, remote: address:port.
    """

    t_ns: int
    event: str
    token: int | None
    local_id: int | None
    remote_id: int | None
    local: str
    remote: str
    is_backup: int | None
    error: int | None
    reset_reason: int | None
    interface_index: int | None


def parse_mptcp_events(data: bytes) -> list[PathEvent]:
    """Return the events in a file of the collector.

    Raises:
        RunInvalid: the file ends within a record, or a record is malformed.
    """
    found, at = [], 0
    while at < len(data):
        if at + RECORD.size > len(data):
            raise RunInvalid(f"the file ends within a record, at byte {at}")
        t_ns, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + length > len(data):
            raise RunInvalid(f"the file ends within a record, at byte {at}")
        for message in _messages(data[at : at + length]):
            found.append(_event(t_ns, message))
        at += length
    return found


def _messages(block: bytes) -> Iterator[bytes]:
    """Yield the generic netlink messages in a block."""
    at = 0
    while at + NETLINK.size <= len(block):
        (length, *_) = NETLINK.unpack_from(block, at)
        if length < NETLINK.size + GENERIC.size or at + length > len(block):
            raise RunInvalid(f"a message of {length} bytes does not fit into what was received")
        yield block[at + NETLINK.size : at + length]
        at += (length + 3) & ~3


def _event(t_ns: int, message: bytes) -> PathEvent:
    command, _, _ = GENERIC.unpack_from(message)
    attributes = _attributes(message[GENERIC.size :])

    def number(kind: int, order: str = "little") -> int | None:
        raw = attributes.get(kind)
        return None if raw is None else int.from_bytes(raw, "big" if order == "big" else "little")

    def endpoint(four: int, six: int, port: int) -> str:
        raw = attributes.get(four, attributes.get(six))
        if raw is None:
            return ""
        if len(raw) not in (4, 16):
            raise RunInvalid(f"an address of {len(raw)} bytes is none")
        return f"{ipaddress.ip_address(raw)}:{number(port, 'big')}"

    return PathEvent(
        t_ns=t_ns,
        event=EVENTS.get(command, f"event_{command}"),
        token=number(TOKEN),
        local_id=number(LOCAL_ID),
        remote_id=number(REMOTE_ID),
        local=endpoint(SOURCE4, SOURCE6, SOURCE_PORT),
        remote=endpoint(TARGET4, TARGET6, TARGET_PORT),
        is_backup=number(BACKUP),
        error=number(ERROR),
        reset_reason=number(RESET_REASON),
        interface_index=number(INTERFACE),
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found
