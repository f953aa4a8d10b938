# SPDX-License-Identifier: Apache-2.0
"""Messages of nfnetlink_queue, as linux/netfilter/nfnetlink_queue.h has them."""

import struct

import pytest

from testbed.errors import BackendError
from testbed.netlink import message, nfqueue

# netlink's header; family, version, queue in big-endian; attributes.
HEADER = 16


def body(request):
    return request[HEADER:].hex(" ", 4)


def test_a_program_binds_to_a_queue_and_asks_for_whole_packets():
    assert body(nfqueue.bind(2)) == "00000002 08000100 01000000"
    assert body(nfqueue.copy_packets(2, 1024)) == (
        "00000002 09000200 0000ffff 02000000 08000300 00000400"
    )
    assert struct.unpack_from("=H", nfqueue.bind(2), 4) == (0x0302,)


def test_verdicts_name_the_packet_and_may_bring_another_one():
    assert body(nfqueue.drop(0, 5)) == "00000000 0c000200 00000000 00000005"
    assert body(nfqueue.accept(0, 5)) == "00000000 0c000200 00000001 00000005"
    assert body(nfqueue.accept(0, 5, b"abcde")).endswith("09000a00 61626364 65000000")
    assert struct.unpack_from("=H", nfqueue.drop(0, 5), 4) == (0x0301,)


def queued(number, payload):
    attributes = message.attr(nfqueue.NFQA_PACKET_HDR, struct.pack("!IHB", number, 0x0800, 2))
    attributes += message.attr(nfqueue.NFQA_PAYLOAD, payload)
    data = message.message(0x0300, 0, struct.pack("!BBH", 2, 0, 0) + attributes)
    return data + bytes(-len(data) & 3)


def test_queued_packets_are_found_one_after_the_other():
    found = nfqueue.parse_queued(queued(7, b"abc") + queued(8, b"defg"))
    assert found == [(7, b"abc"), (8, b"defg")]


def test_a_refused_verdict_is_said():
    refusal = message.message(message.NLMSG_ERROR, 0, struct.pack("=i", -2) + bytes(16))
    with pytest.raises(BackendError, match="refused a verdict: no such file"):
        nfqueue.parse_queued(refusal)
    assert nfqueue.parse_queued(message.message(message.NLMSG_ERROR, 0, bytes(20))) == []
