# SPDX-License-Identifier: Apache-2.0
"""rtnetlink requests say byte for byte what those of `ip` say."""

import struct

import pytest

from testbed.netlink import route
from testbed.netlink.message import HEADER, split_attrs
from tests.unit.netlink_recorded import exact, meaning, recorded

MAC = b"\x02\x00\x00\x00\x00\x01"
LINK_STRUCT_BYTES = 16
PEER = {route.VETH_INFO_PEER: (LINK_STRUCT_BYTES, {})}
LINK_INFO = {route.IFLA_LINKINFO: (0, {route.IFLA_INFO_DATA: (0, PEER)})}


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("link_up", route.link_up(1)),
        ("link_down", route.link_up(1, is_up=False)),
        ("new_address", route.new_address(12, "10.0.1.2", 24)),
        ("delete_address", route.delete_address(12, "10.0.1.2", 24)),
        ("new_rule_from", route.new_rule_from("10.0.1.2", 101, 100)),
    ],
)
def test_same_bytes_as_ip(name, request_):
    assert exact(request_).hex(" ", 4) == exact(recorded(name)).hex(" ", 4)


def test_routes_say_what_ip_says():
    """A route with gateway, source, table, metric or none of them is what `ip route` makes."""
    source = {"source": "10.0.1.2"}
    cases = {
        "default_route": route.new_route("0.0.0.0", 0, 12, "10.0.1.1", table=101, **source),
        "metric_route": route.new_route("0.0.0.0", 0, 12, "10.0.1.1", metric=200, **source),
        "network_route": route.new_route("10.0.3.0", 24, 12, "10.0.1.1"),
        "link_route": route.new_route("10.0.9.0", 24, 12, None),
    }
    for name, ours in cases.items():
        assert meaning(ours, 12) == meaning(recorded(name), 12), name
        assert len(ours) == len(recorded(name)), name


def test_veth_pair_is_what_ip_makes():
    ours = route.new_veth(12, "wlan0", 13, "ap-laptop", 4, MAC)
    assert meaning(ours, LINK_STRUCT_BYTES, LINK_INFO) == meaning(
        recorded("new_veth"), LINK_STRUCT_BYTES, LINK_INFO
    )


def test_veth_pair_made_from_elsewhere_and_brought_up():
    """Only this end's namespace and its flag are added to what `ip` makes."""
    ours = route.new_veth(12, "a", 13, "b", 4, MAC, namespace_fd=9, is_up=True)
    plain = route.new_veth(12, "a", 13, "b", 4, MAC)
    attrs = split_attrs(ours[HEADER.size + LINK_STRUCT_BYTES :])
    assert attrs.pop(route.IFLA_NET_NS_FD) == struct.pack("=I", 9)
    assert attrs == split_attrs(plain[HEADER.size + LINK_STRUCT_BYTES :])
    flags = [struct.unpack_from("=II", one, HEADER.size + 8) for one in (ours, plain)]
    assert flags == [(0x81, 0x81), (0x80, 0x80)]


def test_ifb_is_what_ip_makes():
    nests = {route.IFLA_LINKINFO: (0, {})}
    ours = route.new_ifb(1012, "q12")
    assert meaning(ours, LINK_STRUCT_BYTES, nests) == meaning(
        recorded("new_ifb"), LINK_STRUCT_BYTES, nests
    )


def test_name_of_an_interface_ends_with_a_zero():
    assert b"\x0a\x00\x03\x00wlan0\x00\x00\x00" in route.new_veth(12, "wlan0", 13, "x", 4, MAC)


def test_no_address_no_request():
    with pytest.raises(OSError, match="illegal IP address"):
        route.new_address(12, "ten", 24)


def test_route_over_several_next_hops():
    """struct rtnexthop of each: length, flags, weight less one, interface; then its gateway."""
    ours = route.new_multipath_route("10.128.0.0", 16, [(12, "10.0.1.1"), (13, "10.0.2.1")])
    fields = split_attrs(ours[HEADER.size + 12 :])
    assert ours[HEADER.size : HEADER.size + 12].hex(" ", 4) == "02100000 fe040001 00000000"
    assert fields[route.RTA_DST] == bytes([10, 128, 0, 0])
    assert fields[route.RTA_MULTIPATH].hex(" ", 4) == (
        "10000000 0c000000 08000500 0a000101"  # 16 bytes, interface 12, via 10.0.1.1
        " 10000000 0d000000 08000500 0a000201"
    )
    assert set(fields) == {route.RTA_DST, route.RTA_MULTIPATH}
