# SPDX-License-Identifier: Apache-2.0
"""Encoding of netlink messages, and a socket to the kernel of this machine."""

import errno
import os
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from testbed.errors import BackendError
from testbed.netlink import message as nl
from testbed.netlink.route import link_up, new_address

RTM_GETLINK = 18
NOWHERE = 0x7FFF_FFF0  # the number of no interface


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        (nl.u8(2, 1), "05000200 01000000"),
        (nl.u16(1, 2), "06000100 02000000"),
        (nl.u32(4, 12), "08000400 0c000000"),
        (nl.u64(1, 1_000_000), "0c000100 40420f00 00000000"),
        (nl.s64(2, -1), "0c000200 ffffffff ffffffff"),
        (nl.text(3, "lo"), "07000300 6c6f0000"),
        (nl.attr(9, b""), "04000900"),
        (nl.nested(18, nl.u8(1, 7), nl.u8(2, 8)), "14001280 05000100 07000000 05000200 08000000"),
    ],
)
def test_attributes(attribute, expected):
    assert attribute.hex(" ", 4) == expected


def test_message_is_a_request_with_its_length():
    assert nl.message(16, nl.NLM_F_DUMP, b"\x01\x02\x03\x04").hex(" ", 4) == (
        "14000000 10000103 00000000 00000000 01020304"
    )


@given(st.dictionaries(st.integers(0, 0x7FFF), st.binary(max_size=40), max_size=8))
def test_attributes_round_trip(attrs):
    assert nl.split_attrs(b"".join(nl.attr(kind, data) for kind, data in attrs.items())) == attrs


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8))
def test_messages_round_trip(messages):
    block = b""
    for kind, body in messages:
        block += nl.message(kind, 0, body)
        block += bytes(-len(block) & 3)
    assert [(kind, body) for kind, _, body in nl.split_messages(block)] == messages


@given(st.binary(max_size=200))
@example(bytes(64))
@example(b"\x10\x00\x00\x00" + bytes(12) + b"\xff\xff\xff\xff" + bytes(12))
def test_random_bytes_end(data):
    """Neither reader crashes, goes back, or yields more than there can be."""
    assert len(list(nl.split_messages(data))) <= len(data) // nl.HEADER.size
    assert len(nl.split_attrs(data)) <= len(data) // nl.ATTR_HEADER.size


@pytest.fixture
def rtnl():
    with nl.NetlinkSocket(socket.NETLINK_ROUTE) as rtnl:
        yield rtnl


def test_refusal_names_request_and_reason(rtnl):
    """The kernel's refusal is one sentence; without root it is that it is not permitted."""
    with pytest.raises(BackendError) as caught:
        rtnl.request(link_up(NOWHERE), "bring up lo of mars")
    reasons = [os.strerror(number).lower() for number in (errno.ENODEV, errno.EPERM)]
    assert str(caught.value) in [
        f"the kernel refused to bring up lo of mars: {reason}" for reason in reasons
    ]


def test_refusal_quotes_the_kernel(rtnl):
    """Where the kernel says more than a number, it is quoted."""
    wrong = nl.message(30, 0, bytes(4))  # RTM_GETNEIGH with a header that is too short
    with pytest.raises(BackendError, match="(?i)refused to ask: invalid header for neighbor get"):
        rtnl.request(wrong, "ask")


def test_refusal_in_a_batch_names_the_right_one(rtnl):
    for number in range(5):
        rtnl.add(_get_link(1), f"ask {number}")
    rtnl.add(link_up(NOWHERE), "do the sixth")
    rtnl.add(_get_link(1), "ask the seventh")
    with pytest.raises(BackendError, match="^the kernel refused to do the sixth: "):
        rtnl.flush()


def test_socket_is_usable_after_a_refusal(rtnl):
    """What is left of a refused batch is not taken for an answer to the next."""
    for number in range(3):
        rtnl.add(link_up(NOWHERE + number), f"fail {number}")
    with pytest.raises(BackendError, match="fail 0"):
        rtnl.flush()
    rtnl.request(_get_link(1), "ask")
    with pytest.raises(BackendError, match="refused to fail again: "):
        rtnl.request(new_address(NOWHERE, "10.0.0.1", 24), "fail again")


def test_long_queue_goes_in_several_batches(rtnl, monkeypatch):
    """Every request is sent, although they do not fit into one batch."""
    monkeypatch.setattr(nl, "BATCH_BYTES", 100)
    sent = []
    exchange = rtnl._exchange
    monkeypatch.setattr(rtnl, "_exchange", lambda batch: (sent.append(len(batch)), exchange(batch)))
    for number in range(7):
        rtnl.add(_get_link(1), f"ask {number}")
    rtnl.flush()
    assert sent == [3, 3, 1]
    rtnl.flush()
    assert sent == [3, 3, 1]


def test_dump_returns_all_messages(rtnl):
    """A dump ends with the kernel's word that it is done, and has loopback in it."""
    block = rtnl.dump(nl.message(RTM_GETLINK, nl.NLM_F_DUMP, bytes(16)))
    *links, done = nl.split_messages(block)
    assert done[0] == nl.NLMSG_DONE
    assert b"lo\0" in [nl.split_attrs(body[16:])[3] for _, _, body in links]


def _get_link(index):
    return nl.message(RTM_GETLINK, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0))
