# SPDX-License-Identifier: Apache-2.0
"""Encoding of netlink messages and attributes, and the socket that carries them (RFC 3549)."""

import os
import socket
import struct
from collections.abc import Iterator
from typing import Self

from testbed.errors import BackendError

# include/uapi/linux/netlink.h
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_EXT_ACK = 11
NLMSGERR_ATTR_MSG = 1
SO_RCVBUFFORCE = 33

HEADER = struct.Struct("=IHHII")
ATTR_HEADER = struct.Struct("=HH")

# Messages that are sent with one system call; bounded by the socket's send buffer.
BATCH_BYTES = 60_000

# More than the kernel puts into one block, and less than what makes malloc ask the kernel.
RECEIVE_BYTES = 100_000

# For what arrives from a group until it is read.
GROUP_BUFFER_BYTES = 4 << 20


def attr(kind: int, data: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return ATTR_HEADER.pack(len(data) + 4, kind) + data + bytes(-len(data) & 3)


def nested(kind: int, *parts: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a zero-terminated string."""
    return attr(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """Return an attribute with an unsigned 8-bit number."""
    return attr(kind, struct.pack("=B", value))


def u16(kind: int, value: int) -> bytes:
    """Return an attribute with an unsigned 16-bit number."""
    return attr(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    """Return an attribute with an unsigned 32-bit number."""
    return attr(kind, struct.pack("=I", value))


def u64(kind: int, value: int) -> bytes:
    """Return an attribute with an unsigned 64-bit number."""
    return attr(kind, struct.pack("=Q", value))


def s64(kind: int, value: int) -> bytes:
    """Return an attribute with a signed 64-bit number."""
    return attr(kind, struct.pack("=q", value))


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a request with its header; the sequence number is filled in when it is sent."""
    return HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body


def split_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, sequence number and body of each message in a received block."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, sequence, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def split_attrs(data: bytes) -> dict[int, bytes]:
    """Return the attributes in a block by their kind; of several of one kind the last."""
    found = {}
    at = 0
    while at + ATTR_HEADER.size <= len(data):
        length, kind = ATTR_HEADER.unpack_from(data, at)
        if length < ATTR_HEADER.size:
            break
        found[kind & ~NLA_F_NESTED] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


class NetlinkSocket:
    """A netlink socket; it stays in the network namespace in which it was made.

    Args:
        family: the netlink protocol, such as socket.NETLINK_ROUTE.
    """

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._queue: list[tuple[bytes, str]] = []
        self._sequence = 0

    def add(self, request: bytes, what: str) -> None:
        """Queue a request; what says in an error message what it was for."""
        self._queue.append((request, what))

    def flush(self) -> int:
        """Send what is queued, many requests per system call, and wait until it is done.

        Returns:
            What the last one gave; some families answer with the number of what they made.

        Raises:
            BackendError: the kernel refused one; the message says which and why.
        """
        queue, self._queue = self._queue, []
        given = 0
        while queue:
            size = count = 0
            while count < len(queue) and (count == 0 or size + len(queue[count][0]) < BATCH_BYTES):
                size += len(queue[count][0])
                count += 1
            given = self._exchange(queue[:count])
            queue = queue[count:]
        return given

    def _exchange(self, batch: list[tuple[bytes, str]]) -> int:
        first = self._sequence + 1
        self._sequence += len(batch)
        block = bytearray()
        for number, (request, _) in enumerate(batch, first):
            length, kind, flags, _, _ = HEADER.unpack_from(request)
            # Errors come anyway; the last one's acknowledgement says that all are done.
            flags |= NLM_F_ACK if number == self._sequence else 0
            block += HEADER.pack(length, kind, flags, number, 0) + request[HEADER.size :]
            block += bytes(-len(block) & 3)
        self._socket.send(block)
        while True:
            for kind, sequence, body in split_messages(self._socket.recv(RECEIVE_BYTES)):
                # What is left of an earlier batch that was refused is of no interest.
                if kind != NLMSG_ERROR or sequence < first:
                    continue
                (error,) = struct.unpack_from("=i", body)
                if error < 0:
                    raise _refusal(batch[sequence - first][1], -error, body)
                if sequence == self._sequence:
                    return int(error)

    def request(self, request: bytes, what: str) -> int:
        """Send one request, wait until it is done and return the number that it gave, mostly 0."""
        self.add(request, what)
        return self.flush()

    def dump(self, request: bytes) -> bytes:
        """Send a dump request and return all of its answer as the kernel wrote it.

        Raises:
            BackendError: the kernel refused it.
        """
        self._socket.send(request)
        answer = bytearray()
        while True:
            data = self._socket.recv(RECEIVE_BYTES)
            answer += data
            for kind, _, body in split_messages(data):
                if kind == NLMSG_ERROR and any(body[:4]):
                    (error,) = struct.unpack_from("=i", body)
                    raise _refusal("list what was asked for", -error, body)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return bytes(answer)

    def tell(self, request: bytes) -> None:
        """Send a request that is answered only if it is refused, among what is received."""
        self._socket.send(request)

    def make_room(self, size_bytes: int) -> None:
        """Let so much wait until it is received, whatever the system's limit for others."""
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size_bytes)

    def join(self, group: int) -> None:
        """Receive what the kernel sends to a multicast group."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, GROUP_BUFFER_BYTES)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def receive(self) -> bytes:
        """Return the next message that came without a request; nothing if there is none."""
        try:
            return self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def fileno(self) -> int:
        """Return the descriptor, to wait for messages."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _refusal(what: str, number: int, body: bytes) -> BackendError:
    # The error number is followed by the request that was refused, and that by the reason.
    (length,) = struct.unpack_from("=I", body, 4)
    said = split_attrs(body[4 + ((length + 3) & ~3) :]).get(NLMSGERR_ATTR_MSG, b"")
    reason = said.rstrip(b"\0").decode(errors="replace") or os.strerror(number).lower()
    return BackendError(f"the kernel refused to {what}: {reason}")
