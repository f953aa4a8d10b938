# SPDX-License-Identifier: Apache-2.0
"""rtnetlink: IPv6 addresses and routes, and IPv4 routes by a list of segments (SRv6, RFC 8754)."""

import socket
import struct
from collections.abc import Sequence

from testbed.netlink.message import NLM_F_CREATE, NLM_F_EXCL, attr, message, nested, u32
from testbed.netlink.route import (
    IFA_ADDRESS,
    IFA_LOCAL,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_OIF,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTPROT_STATIC,
)

# include/uapi/linux/if_addr.h, rtnetlink.h, lwtunnel.h, seg6.h, seg6_iptunnel.h
IFA_F_NODAD = 0x02
RTA_ENCAP_TYPE, RTA_ENCAP = 21, 22
LWTUNNEL_ENCAP_SEG6 = 5
SEG6_IPTUNNEL_SRH = 1
SEG6_IPTUN_MODE_ENCAP = 1
SEGMENT_ROUTING_TYPE = 4
IPV6_BITS = 128
ADDRESS_BYTES = 16

# struct ipv6_sr_hdr: next header, length, type, segments left, last entry, flags, tag
_HEADER = struct.Struct("!BBBBBBH")
_ROUTE = struct.Struct("=BBBBBBBBI")


def new_address6(index: int, address: str) -> bytes:
    """Return the request that gives an interface an IPv6 address of its own, usable at once."""
    raw = socket.inet_pton(socket.AF_INET6, address)
    head = (socket.AF_INET6, IPV6_BITS, IFA_F_NODAD, RT_SCOPE_UNIVERSE, index)
    body = struct.pack("=BBBBI", *head) + attr(IFA_LOCAL, raw) + attr(IFA_ADDRESS, raw)
    return message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def new_route6(destination: str, prefix_length: int, index: int) -> bytes:
    """Return the request for an IPv6 route through an interface."""
    body = _head(socket.AF_INET6, prefix_length, RT_TABLE_MAIN)
    body += attr(RTA_DST, socket.inet_pton(socket.AF_INET6, destination)) + u32(RTA_OIF, index)
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body)


def new_segments_route(
    destination: str,
    prefix_length: int,
    segments: Sequence[str],
    index: int,
    *,
    table: int = RT_TABLE_MAIN,
) -> bytes:
    """Return the request for an IPv4 route whose packets are wrapped in IPv6 with a segment list.

    Args:
        segments: in the order in which they are visited (H.Encaps, RFC 8986 section 5.1).
        index: any interface that is up; the first segment says where the packet leaves.
    """
    srh = attr(SEG6_IPTUNNEL_SRH, struct.pack("=i", SEG6_IPTUN_MODE_ENCAP) + srh_of(segments))
    body = _head(socket.AF_INET, prefix_length, table)
    body += attr(RTA_DST, socket.inet_aton(destination)) if prefix_length else b""
    body += u32(RTA_OIF, index) + nested(RTA_ENCAP, srh)
    body += attr(RTA_ENCAP_TYPE, struct.pack("=H", LWTUNNEL_ENCAP_SEG6))
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body)


def srh_of(segments: Sequence[str]) -> bytes:
    """Return a segment routing header; it holds the segments in reverse order."""
    last = len(segments) - 1
    words = len(segments) * ADDRESS_BYTES // 8
    head = _HEADER.pack(0, words, SEGMENT_ROUTING_TYPE, last, last, 0, 0)
    return head + b"".join(socket.inet_pton(socket.AF_INET6, one) for one in reversed(segments))


def _head(family: int, prefix_length: int, table: int) -> bytes:
    place = (family, prefix_length, 0, 0, table, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST, 0)
    return _ROUTE.pack(*place)
