# SPDX-License-Identifier: Apache-2.0
"""nfnetlink: the elements of a set of nftables, and what their counters say now."""

import socket
import struct

from testbed.netlink.message import NLM_F_DUMP, message, text

# include/uapi/linux/netlink.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETSETELEM = 13
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET = 1, 2
FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}

# struct nfgenmsg: family, version, resource
_GENERAL = struct.Struct("=BBH")


def dump_set(family: str, table: str, name: str) -> bytes:
    """Return the request for all elements of a set; the family is `ip` or `ip6`."""
    body = _GENERAL.pack(FAMILIES[family], 0, 0)
    body += text(NFTA_SET_ELEM_LIST_TABLE, table) + text(NFTA_SET_ELEM_LIST_SET, name)
    return message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_DUMP, body)
