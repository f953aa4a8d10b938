# SPDX-License-Identifier: Apache-2.0
"""rtnetlink: interfaces, addresses, routes and rules (rtnetlink(7))."""

import socket
import struct
from collections.abc import Sequence

from testbed.netlink.message import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    attr,
    message,
    nested,
    text,
    u32,
)

# include/uapi/linux/rtnetlink.h, if_link.h, fib_rules.h
RTM_NEWLINK = 16
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_NEWROUTE = 24
RTM_NEWRULE = 32
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_LINKINFO = 18
IFLA_NET_NS_FD = 28
IFLA_GSO_MAX_SEGS = 40
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
VETH_INFO_PEER = 1
IFA_ADDRESS = 1
IFA_LOCAL = 2
RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_MULTIPATH = 9
FRA_SRC = 2
FRA_PRIORITY = 6
RT_TABLE_MAIN = 254
RTPROT_STATIC = 4
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
IFF_UP = 0x1
IFF_NOARP = 0x80

LOOPBACK_INDEX = 1

_LINK = struct.Struct("=BxHiII")
# struct rtnexthop: length, flags, weight - 1, interface
_NEXT_HOP = struct.Struct("=HBBi")


def link_up(index: int, is_up: bool = True) -> bytes:
    """Return the request that sets an interface up or down."""
    return message(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, IFF_UP if is_up else 0, IFF_UP))


def _link_body(index: int, name: str, mac: bytes, flags: int = IFF_NOARP) -> bytes:
    # No ARP and one MAC on both ends: nothing to resolve, nothing that could time out.
    body = _LINK.pack(0, 0, index, flags, flags) + text(IFLA_IFNAME, name)
    # One segment per packet: a 64 KB super-packet would make a queue in bytes meaningless.
    return body + attr(IFLA_ADDRESS, mac) + u32(IFLA_GSO_MAX_SEGS, 1)


def new_veth(
    index: int,
    name: str,
    peer_index: int,
    peer_name: str,
    peer_namespace_fd: int,
    mac: bytes,
    *,
    namespace_fd: int | None = None,
    is_up: bool = False,
) -> bytes:
    """Return the request for a veth pair.

    Args:
        index, name: of this end.
        peer_index, peer_name: of its peer.
        peer_namespace_fd: the peer's namespace.
        mac: of both.
        namespace_fd: this end's namespace, if it is not the socket's.
        is_up: bring this end up; the peer cannot be brought up by the same request.
    """
    peer = _link_body(peer_index, peer_name, mac) + u32(IFLA_NET_NS_FD, peer_namespace_fd)
    info = text(IFLA_INFO_KIND, "veth") + nested(IFLA_INFO_DATA, attr(VETH_INFO_PEER, peer))
    body = _link_body(index, name, mac, IFF_NOARP | IFF_UP if is_up else IFF_NOARP)
    body += nested(IFLA_LINKINFO, info)
    if namespace_fd is not None:
        body += u32(IFLA_NET_NS_FD, namespace_fd)
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def new_ifb(index: int, name: str) -> bytes:
    """Return the request for an intermediate functional block, a queue for arriving packets."""
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "ifb"))
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def _address(kind: int, flags: int, index: int, address: str, prefix_length: int) -> bytes:
    body = struct.pack("=BBBBI", socket.AF_INET, prefix_length, 0, RT_SCOPE_UNIVERSE, index)
    raw = socket.inet_aton(address)
    return message(kind, flags, body + attr(IFA_LOCAL, raw) + attr(IFA_ADDRESS, raw))


def new_address(index: int, address: str, prefix_length: int) -> bytes:
    """Return the request that gives an interface an IPv4 address."""
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, prefix_length)


def delete_address(index: int, address: str, prefix_length: int) -> bytes:
    """Return the request that takes an address away, and with it the routes that need it."""
    return _address(RTM_DELADDR, 0, index, address, prefix_length)


def new_route(
    destination: str,
    prefix_length: int,
    index: int,
    gateway: str | None,
    *,
    table: int = RT_TABLE_MAIN,
    metric: int = 0,
    source: str | None = None,
) -> bytes:
    """Return the request for an IPv4 route through an interface and, if given, a gateway."""
    body = _route_head(destination, prefix_length, table, has_gateway=bool(gateway))
    body += u32(RTA_OIF, index)
    if gateway:
        body += attr(RTA_GATEWAY, socket.inet_aton(gateway))
    if metric:
        body += u32(RTA_PRIORITY, metric)
    if source:
        body += attr(RTA_PREFSRC, socket.inet_aton(source))
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body)


def new_multipath_route(
    destination: str, prefix_length: int, hops: Sequence[tuple[int, str]]
) -> bytes:
    """Return the request for an IPv4 route over several next hops of equal weight (ECMP).

    Args:
        hops: interface and gateway of each.
    """
    body = _route_head(destination, prefix_length, RT_TABLE_MAIN, has_gateway=True)
    ways = b""
    for index, gateway in hops:
        way = attr(RTA_GATEWAY, socket.inet_aton(gateway))
        ways += _NEXT_HOP.pack(_NEXT_HOP.size + len(way), 0, 0, index) + way
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body + attr(RTA_MULTIPATH, ways))


def _route_head(destination: str, prefix_length: int, table: int, *, has_gateway: bool) -> bytes:
    scope = RT_SCOPE_UNIVERSE if has_gateway else RT_SCOPE_LINK
    body = struct.pack(
        "=BBBBBBBBI",
        socket.AF_INET,
        prefix_length,
        0,
        0,
        table,
        RTPROT_STATIC,
        scope,
        RTN_UNICAST,
        0,
    )
    return body + (attr(RTA_DST, socket.inet_aton(destination)) if prefix_length else b"")


def new_rule_from(source: str, table: int, priority: int) -> bytes:
    """Return the request that sends what comes from an address to a routing table."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 32, 0, table, 0, 0, RTN_UNICAST, 0)
    body += attr(FRA_SRC, socket.inet_aton(source)) + u32(FRA_PRIORITY, priority)
    return message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body)
