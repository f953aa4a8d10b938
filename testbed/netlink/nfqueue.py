# SPDX-License-Identifier: Apache-2.0
"""Messages of nfnetlink_queue: packets that wait for a program's verdict.

linux/netfilter/nfnetlink.h and nfnetlink_queue.h; numbers are big-endian, unlike elsewhere in
netlink.
"""

import os
import struct
from typing import NamedTuple

from testbed.errors import BackendError
from testbed.netlink import message

NETLINK_NETFILTER = 12
NFNL_SUBSYS_QUEUE = 3
NFQNL_MSG_PACKET, NFQNL_MSG_VERDICT, NFQNL_MSG_CONFIG = 0, 1, 2
NFQA_CFG_CMD, NFQA_CFG_PARAMS, NFQA_CFG_QUEUE_MAXLEN = 1, 2, 3
NFQNL_CFG_CMD_BIND, NFQNL_COPY_PACKET = 1, 2
NFQA_PACKET_HDR, NFQA_VERDICT_HDR, NFQA_PAYLOAD = 1, 2, 10
NF_DROP, NF_ACCEPT = 0, 1
WHOLE_PACKET = 0xFFFF


class Queued(NamedTuple):
    """A packet that waits: the number by which its verdict names it, and its bytes from IP on."""

    number: int
    packet: bytes


def bind(queue: int) -> bytes:
    """Return the request to be the program that decides about a queue."""
    command = message.attr(NFQA_CFG_CMD, struct.pack("!BxH", NFQNL_CFG_CMD_BIND, 0))
    return _request(NFQNL_MSG_CONFIG, queue, command)


def copy_packets(queue: int, most: int) -> bytes:
    """Return the request for whole packets, of which at most so many wait."""
    how = message.attr(NFQA_CFG_PARAMS, struct.pack("!IB", WHOLE_PACKET, NFQNL_COPY_PACKET))
    length = message.attr(NFQA_CFG_QUEUE_MAXLEN, struct.pack("!I", most))
    return _request(NFQNL_MSG_CONFIG, queue, how + length)


def accept(queue: int, number: int, packet: bytes | None = None) -> bytes:
    """Return the verdict that lets a packet go on, as it is or as another one."""
    instead = b"" if packet is None else message.attr(NFQA_PAYLOAD, packet)
    return _verdict(queue, number, NF_ACCEPT, instead)


def drop(queue: int, number: int) -> bytes:
    """Return the verdict that ends a packet."""
    return _verdict(queue, number, NF_DROP)


def parse_queued(data: bytes) -> list[Queued]:
    """Return the packets in what was received.

    Raises:
        BackendError: the kernel refused a verdict.
    """
    found = []
    for kind, _, body in message.split_messages(data):
        if kind == message.NLMSG_ERROR and any(body[:4]):
            (error,) = struct.unpack_from("=i", body)
            raise BackendError(f"the kernel refused a verdict: {os.strerror(-error).lower()}")
        if kind == NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET:
            attrs = message.split_attrs(body[4:])
            (number,) = struct.unpack_from("!I", attrs[NFQA_PACKET_HDR])
            found.append(Queued(number, attrs[NFQA_PAYLOAD]))
    return found


def _head(queue: int) -> bytes:
    return struct.pack("!BBH", 0, 0, queue)


def _request(kind: int, queue: int, attributes: bytes) -> bytes:
    return message.message(NFNL_SUBSYS_QUEUE << 8 | kind, 0, _head(queue) + attributes)


def _verdict(queue: int, number: int, verdict: int, instead: bytes = b"") -> bytes:
    said = message.attr(NFQA_VERDICT_HDR, struct.pack("!II", verdict, number))
    return _request(NFQNL_MSG_VERDICT, queue, said + instead)
