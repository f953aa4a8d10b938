# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of MPTCP connections, decoded where it is acted upon: on the target."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from testbed.netlink.message import split_attrs, split_messages
from testbed.netlink.mptcp_commands import End

# include/uapi/linux/mptcp_pm.h
EVENTS = {
    1: "created",
    2: "established",
    3: "closed",
    6: "announced",
    7: "removed",
    10: "subflow_established",
    11: "subflow_closed",
    13: "subflow_priority",
    15: "listener_created",
    16: "listener_closed",
}
TOKEN, LOCAL_ID, REMOTE_ID, SOURCE4, TARGET4 = 1, 3, 4, 5, 7
SOURCE_PORT, TARGET_PORT, BACKUP, ERROR, SERVER_SIDE = 9, 10, 11, 12, 18

_GENL = struct.Struct("=BBH")


class Event(NamedTuple):
    """One event; what it does not say is None.

    Attributes:
        kind: one of EVENTS.
        token: of the connection, at this end.
        local, remote: the ends of the subflow, or of the connection's first one.
        local_id, remote_id: address ids.
        error: errno of a subflow that failed.
    """

    kind: str
    token: int
    local: End | None = None
    remote: End | None = None
    local_id: int | None = None
    remote_id: int | None = None
    is_backup: bool = False
    error: int | None = None


def decode_events(block: bytes) -> Iterator[Event]:
    """Yield the events of IPv4 connections in a block that was received."""
    for _, _, body in split_messages(block):
        attrs = split_attrs(body[_GENL.size :])
        command, _, _ = _GENL.unpack_from(body)
        if command in EVENTS and TOKEN in attrs:
            yield _event(EVENTS[command], attrs)


def _event(kind: str, attrs: dict[int, bytes]) -> Event:
    return Event(
        kind,
        int.from_bytes(attrs[TOKEN], "little"),
        _end(attrs, SOURCE4, SOURCE_PORT),
        _end(attrs, TARGET4, TARGET_PORT),
        _number(attrs, LOCAL_ID),
        _number(attrs, REMOTE_ID),
        bool(_number(attrs, BACKUP)),
        _number(attrs, ERROR),
    )


def _end(attrs: dict[int, bytes], address: int, port: int) -> End | None:
    if address not in attrs:
        return None
    number = int.from_bytes(attrs.get(port, b""), "big")
    return End(socket.inet_ntoa(attrs[address]), number)


def _number(attrs: dict[int, bytes], kind: int) -> int | None:
    return int.from_bytes(attrs[kind], "little") if kind in attrs else None
