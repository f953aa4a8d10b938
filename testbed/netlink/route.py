# SPDX-License-Identifier: Apache-2.0
"""rtnetlink: interfaces, addresses, routes and rules (rtnetlink(7))."""

import socket
import struct
from collections.abc import Sequence

from testbed.netlink.message import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    attr,
    message,
    nested,
    text,
    u8,
    u32,
)

# include/uapi/linux/rtnetlink.h, if_link.h, fib_rules.h
RTM_NEWLINK = 16
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_NEWNEIGH = 28
RTM_NEWRULE = 32
RTM_DELRULE = 33
IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINKINFO = 18
IFLA_NET_NS_FD = 28
IFLA_GSO_MAX_SEGS = 40
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
VETH_INFO_PEER = 1
IFLA_IPTUN_LOCAL = 2
IFLA_IPTUN_REMOTE = 3
IFLA_IPTUN_TTL = 4
IFA_ADDRESS = 1
IFA_LOCAL = 2
RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_MULTIPATH = 9
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_PRIORITY = 6
FRA_FWMARK = 10
RT_TABLE_MAIN = 254
RTPROT_STATIC = 4
RTN_UNICAST = 1
RTN_LOCAL = 2
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RT_SCOPE_NOWHERE = 255
RTNH_F_ONLINK = 4
NDA_DST = 1
NDA_LLADDR = 2
NUD_PERMANENT = 0x80
IFF_UP = 0x1
IFF_NOARP = 0x80

LOOPBACK_INDEX = 1
TUNNEL_MTU_BYTES, TUNNEL_TTL = 1500, 64

_LINK = struct.Struct("=BxHiII")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
# struct rtnexthop: length, flags, weight - 1, interface
_NEXT_HOP = struct.Struct("=HBBi")


def link_up(index: int, is_up: bool = True) -> bytes:
    """Return the request that sets an interface up or down."""
    return message(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, IFF_UP if is_up else 0, IFF_UP))


def one_segment(index: int) -> bytes:
    """Return the request that brings an interface up and gives it one segment per packet."""
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP) + u32(IFLA_GSO_MAX_SEGS, 1)
    return message(RTM_NEWLINK, 0, body)


def new_neighbour(index: int, address: str, mac: bytes) -> bytes:
    """Return the request that makes known for good who has an address."""
    body = _NEIGHBOUR.pack(socket.AF_INET, index, NUD_PERMANENT, 0, RTN_UNICAST)
    body += attr(NDA_DST, socket.inet_aton(address)) + attr(NDA_LLADDR, mac)
    return message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def _link_body(
    index: int, name: str, mac: bytes, flags: int = IFF_NOARP, mtu_bytes: int | None = None
) -> bytes:
    # No ARP and one MAC on both ends: nothing to resolve, nothing that could time out.
    body = _LINK.pack(0, 0, index, flags, flags) + text(IFLA_IFNAME, name)
    body += b"" if mtu_bytes is None else u32(IFLA_MTU, mtu_bytes)
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
    mtu_bytes: int | None = None,
) -> bytes:
    """Return the request for a veth pair.

    Args:
        index, name: of this end.
        peer_index, peer_name: of its peer.
        peer_namespace_fd: the peer's namespace.
        mac: of both.
        namespace_fd: this end's namespace, if it is not the socket's.
        is_up: bring this end up; the peer cannot be brought up by the same request.
        mtu_bytes: of both; None: 1500.
    """
    peer = _link_body(peer_index, peer_name, mac, mtu_bytes=mtu_bytes)
    peer += u32(IFLA_NET_NS_FD, peer_namespace_fd)
    info = text(IFLA_INFO_KIND, "veth") + nested(IFLA_INFO_DATA, attr(VETH_INFO_PEER, peer))
    flags = IFF_NOARP | IFF_UP if is_up else IFF_NOARP
    body = _link_body(index, name, mac, flags, mtu_bytes)
    body += nested(IFLA_LINKINFO, info)
    if namespace_fd is not None:
        body += u32(IFLA_NET_NS_FD, namespace_fd)
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def new_ifb(index: int, name: str) -> bytes:
    """Return the request for an intermediate functional block, a queue for arriving packets."""
    body = _LINK.pack(0, 0, index, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "ifb"))
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def new_ipip(index: int, name: str, local: str, remote: str) -> bytes:
    """Return the request for one end of a tunnel of IP packets in IP packets."""
    data = attr(IFLA_IPTUN_LOCAL, socket.inet_aton(local))
    data += attr(IFLA_IPTUN_REMOTE, socket.inet_aton(remote)) + u8(IFLA_IPTUN_TTL, TUNNEL_TTL)
    info = text(IFLA_INFO_KIND, "ipip") + nested(IFLA_INFO_DATA, data)
    body = _LINK.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, name) + nested(IFLA_LINKINFO, info)
    return message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + u32(IFLA_MTU, TUNNEL_MTU_BYTES))


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
    is_onlink: bool = False,
) -> bytes:
    """Return the request for an IPv4 route through an interface and, if given, a gateway.

    Args:
        is_onlink: reach the gateway by the interface without an address of its network.
    """
    flags = RTNH_F_ONLINK if is_onlink else 0
    body = _route_head(destination, prefix_length, table, flags, has_gateway=bool(gateway))
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
    body = _route_head(destination, prefix_length, RT_TABLE_MAIN, 0, has_gateway=True)
    ways = b""
    for index, gateway in hops:
        way = attr(RTA_GATEWAY, socket.inet_aton(gateway))
        ways += _NEXT_HOP.pack(_NEXT_HOP.size + len(way), 0, 0, index) + way
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body + attr(RTA_MULTIPATH, ways))


def _route_head(
    destination: str, prefix_length: int, table: int, flags: int, *, has_gateway: bool
) -> bytes:
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
        flags,
    )
    return body + (attr(RTA_DST, socket.inet_aton(destination)) if prefix_length else b"")


def delete_route(
    destination: str, prefix_length: int, index: int, *, table: int = RT_TABLE_MAIN, metric: int = 0
) -> bytes:
    """Return the request that takes a route through an interface away."""
    scope = RT_SCOPE_NOWHERE  # whatever it is
    place = (socket.AF_INET, prefix_length, 0, 0, table, RTPROT_STATIC, scope, RTN_UNICAST, 0)
    body = struct.pack("=BBBBBBBBI", *place)
    if prefix_length:
        body += attr(RTA_DST, socket.inet_aton(destination))
    body += u32(RTA_OIF, index) + (u32(RTA_PRIORITY, metric) if metric else b"")
    return message(RTM_DELROUTE, 0, body)


def new_rule_from(source: str | None, table: int, priority: int, interface: str = "") -> bytes:
    """Return the request that sends what comes from an address to a routing table.

    Args:
        source: the address; None: from any.
        interface: only what comes in by it, if one is named.
    """
    body = _rule_from(source, table, priority, interface)
    return message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body)


def delete_rule_from(source: str | None, table: int, priority: int, interface: str = "") -> bytes:
    """Return the request that takes such a rule away."""
    return message(RTM_DELRULE, 0, _rule_from(source, table, priority, interface))


def _rule_from(source: str | None, table: int, priority: int, interface: str) -> bytes:
    length = 32 if source else 0
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, length, 0, table, 0, 0, RTN_UNICAST, 0)
    body += text(FRA_IIFNAME, interface) if interface else b""
    body += attr(FRA_SRC, socket.inet_aton(source)) if source else b""
    return body + u32(FRA_PRIORITY, priority)


def new_local_route(table: int) -> bytes:
    """Return the request for a route by which a table takes every packet as the node's own."""
    place = (socket.AF_INET, 0, 0, 0, table, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0)
    body = struct.pack("=BBBBBBBBI", *place) + u32(RTA_OIF, LOOPBACK_INDEX)
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body)


def new_rule_mark(mark: int, table: int, priority: int) -> bytes:
    """Return the request that sends packets with a mark to a routing table."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, table, 0, 0, RTN_UNICAST, 0)
    body += u32(FRA_FWMARK, mark) + u32(FRA_PRIORITY, priority)
    return message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body)
