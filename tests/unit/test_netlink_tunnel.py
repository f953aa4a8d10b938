# SPDX-License-Identifier: Apache-2.0
"""Requests for tunnels, rules and their end, attribute by attribute (rtnetlink(7))."""

import struct

from testbed.netlink import route
from testbed.netlink.message import HEADER, split_attrs

LINK_BYTES, RULE_BYTES = 16, 12


def parts(request, head_bytes):
    _, kind, flags, _, _ = HEADER.unpack_from(request)
    body = request[HEADER.size :]
    return kind, flags, body[:head_bytes], split_attrs(body[head_bytes:])


def test_a_tunnel_has_two_ends_and_room_for_whole_packets():
    kind, flags, head, attrs = parts(
        route.new_ipip(900, "tunnel", "10.0.3.2", "10.0.3.1"), LINK_BYTES
    )
    assert (kind, flags) == (16, 0x601)
    assert struct.unpack_from("=i", head, 4) == (900,)
    assert (attrs[3], attrs[4]) == (b"tunnel\0", struct.pack("=I", 1500))
    info = split_attrs(attrs[18])
    assert info[1] == b"ipip\0"
    data = split_attrs(info[2])
    assert data == {2: bytes([10, 0, 3, 2]), 3: bytes([10, 0, 3, 1]), 4: b"\x40"}


def test_a_rule_may_be_for_an_address_an_interface_or_both():
    kind, _, head, attrs = parts(route.new_rule_from("10.0.1.2", 201, 50, "dc_b-vm"), RULE_BYTES)
    assert (kind, head[2], head[4]) == (32, 32, 201)
    assert attrs == {2: bytes([10, 0, 1, 2]), 3: b"dc_b-vm\0", 6: struct.pack("=I", 50)}

    _, _, head, attrs = parts(route.new_rule_from(None, 200, 50, "tunnel"), RULE_BYTES)
    assert (head[2], attrs) == (0, {3: b"tunnel\0", 6: struct.pack("=I", 50)})


def test_what_is_taken_away_is_what_was_added():
    added = parts(route.new_rule_from("10.0.1.2", 201, 50, "x"), RULE_BYTES)
    gone = parts(route.delete_rule_from("10.0.1.2", 201, 50, "x"), RULE_BYTES)
    assert (gone[0], gone[2:]) == (33, added[2:])

    kind, _, head, attrs = parts(route.delete_route("10.0.1.2", 32, 900, table=200), RULE_BYTES)
    assert (kind, head[1], head[4], head[6]) == (25, 32, 200, route.RT_SCOPE_NOWHERE)
    assert attrs == {1: bytes([10, 0, 1, 2]), 4: struct.pack("=I", 900)}


def test_a_gateway_may_be_out_of_reach_of_the_addresses():
    def flags(**more):
        request = route.new_route("0.0.0.0", 0, 12, "10.0.2.1", **more)
        return struct.unpack_from("=I", request, HEADER.size + 8)

    assert (flags(), flags(is_onlink=True)) == ((0,), (4,))


def test_a_cable_may_carry_longer_packets():
    def mtu(**more):
        _, _, _, attrs = parts(route.new_veth(1, "a", 2, "b", 3, b"\2" * 6, **more), LINK_BYTES)
        peer = split_attrs(split_attrs(split_attrs(attrs[18])[2])[1][LINK_BYTES:])
        return attrs.get(4), peer.get(4)

    assert mtu() == (None, None)
    assert mtu(mtu_bytes=1520) == (struct.pack("=I", 1520),) * 2
