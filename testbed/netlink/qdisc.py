# SPDX-License-Identifier: Apache-2.0
"""Traffic control: the testbed's own queueing discipline `lab_link`, and redirection to it.

The attributes of lab_link are those of kernel/modules/net/sched/sch_lab_link.c.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from testbed.netlink.message import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    attr,
    message,
    nested,
    s64,
    split_attrs,
    split_messages,
    text,
    u32,
    u64,
)

# include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h, tc_act/tc_mirred.h, if_ether.h
RTM_NEWQDISC = 36
RTM_GETQDISC = 38
RTM_NEWTFILTER = 44
TCA_KIND = 1
TCA_OPTIONS = 2
TCA_STATS2 = 7
TCA_STATS_BASIC = 1
TCA_STATS_APP = 4
TC_H_ROOT = 0xFFFFFFFF
TC_H_INGRESS = 0xFFFFFFF1
INGRESS_HANDLE = 0xFFFF0000
TCA_MATCHALL_ACT = 2
TCA_ACT_KIND = 1
TCA_ACT_OPTIONS = 2
TCA_MIRRED_PARMS = 2
TCA_EGRESS_REDIR = 1
TC_ACT_STOLEN = 4
ETH_P_ALL = 0x0003

LAB_LINK_RATE = 1
LAB_LINK_DELAY = 2
LAB_LINK_LIMIT = 3
LAB_LINK_LOSS = 4
LAB_LINK_SEED = 5
LAB_LINK_UP = 6
LAB_LINK_TRACE = 7
LAB_LINK_TRACE_MORE = 8
LAB_LINK_TRACE_PERIOD = 9
LAB_LINK_TRACE_START = 10

RATE_UNLIMITED = 2**64 - 1

# An attribute holds 64 KiB at most, and so do the options around it.
TRACE_CHUNK = 15_000

_TC = struct.Struct("=BxHiIII")
_STATS = struct.Struct("=8Q")
_BASIC = struct.Struct("=QI")  # bytes, packets that left
STATS_NAMES = (
    "dropped_full",
    "dropped_loss",
    "dropped_down",
    "delivered_bytes",
    "opportunities",
    "max_backlog",
    "busy_ns",
    "backlog",
)


class LinkChange(NamedTuple):
    """What to change of one direction of a link; None leaves a value as it is.

    Attributes:
        rate_bps: bit/s of IP packets; 0 serves nothing; RATE_UNLIMITED takes no time.
        one_way_delay_s: propagation delay after the queue.
        queue_bytes: limit of the bottleneck queue.
        loss_fraction: independent loss of packets, before the queue.
        loss_seed: seed of those losses.
        is_up: False loses the queue and all that arrives.
    """

    rate_bps: int | None = None
    one_way_delay_s: float | None = None
    queue_bytes: int | None = None
    loss_fraction: float | None = None
    loss_seed: int | None = None
    is_up: bool | None = None

    def attrs(self) -> bytes:
        """Return the netlink attributes."""
        parts = []
        if self.rate_bps is not None:
            rate = self.rate_bps if self.rate_bps == RATE_UNLIMITED else self.rate_bps // 8
            parts.append(u64(LAB_LINK_RATE, rate))
        if self.one_way_delay_s is not None:
            parts.append(s64(LAB_LINK_DELAY, round(self.one_way_delay_s * 1e9)))
        if self.queue_bytes is not None:
            parts.append(u32(LAB_LINK_LIMIT, self.queue_bytes))
        if self.loss_fraction is not None:
            parts.append(u32(LAB_LINK_LOSS, min(round(self.loss_fraction * 2**32), 2**32 - 1)))
        if self.loss_seed is not None:
            parts.append(u64(LAB_LINK_SEED, self.loss_seed % 2**64))
        if self.is_up is not None:
            parts.append(u32(LAB_LINK_UP, int(self.is_up)))
        return b"".join(parts)


def new_lab_link(index: int, change: LinkChange, *, replaces: bool = False) -> bytes:
    """Return the request that makes an interface one direction of a link.

    Args:
        index: of the interface.
        change: what the link is like.
        replaces: the interface may have another queueing discipline.
    """
    body = _TC.pack(0, 0, index, 0x10000, TC_H_ROOT, 0)
    body += text(TCA_KIND, "lab_link") + nested(TCA_OPTIONS, change.attrs())
    how = NLM_F_REPLACE if replaces else NLM_F_EXCL
    return message(RTM_NEWQDISC, NLM_F_CREATE | how, body)


def new_noqueue(index: int) -> bytes:
    """Return the request that makes an interface send at once what it is given."""
    body = _TC.pack(0, 0, index, 0, TC_H_ROOT, 0) + text(TCA_KIND, "noqueue")
    return message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body)


def change_lab_link(index: int, options: bytes) -> bytes:
    """Return the request that changes a link in place."""
    body = _TC.pack(0, 0, index, 0x10000, TC_H_ROOT, 0)
    body += text(TCA_KIND, "lab_link") + nested(TCA_OPTIONS, options)
    return message(RTM_NEWQDISC, 0, body)


def trace_options(opportunities_ms: Sequence[int], period_ms: int, start_ns: int) -> list[bytes]:
    """Return the options, for one change each, that make a link follow a trace.

    Args:
        opportunities_ms: ascending times of delivery of 1500 bytes, from the start.
        period_ms: after which the trace starts again; 0 means never.
        start_ns: of the monotonic clock.
    """
    chunks = [
        opportunities_ms[at : at + TRACE_CHUNK]
        for at in range(0, len(opportunities_ms), TRACE_CHUNK)
    ]
    options = []
    for number, chunk in enumerate(chunks):
        kind = LAB_LINK_TRACE_MORE if number else LAB_LINK_TRACE
        options.append(attr(kind, struct.pack(f"={len(chunk)}I", *chunk)))
    # The period is checked against the whole trace, so it comes last.
    options[0] = u32(LAB_LINK_TRACE_PERIOD, 0) + options[0]
    options.append(u32(LAB_LINK_TRACE_PERIOD, period_ms) + s64(LAB_LINK_TRACE_START, start_ns))
    return options


def new_ingress(index: int) -> bytes:
    """Return the request that lets filters see what arrives on an interface."""
    body = _TC.pack(0, 0, index, INGRESS_HANDLE, TC_H_INGRESS, 0) + text(TCA_KIND, "ingress")
    return message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body)


def redirect_ingress(index: int, to_index: int) -> bytes:
    """Return the request that sends all that arrives on an interface through another's queue."""
    # struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
    fields = struct.pack("=IIiiiiI", 0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to_index)
    action = text(TCA_ACT_KIND, "mirred")
    action += nested(TCA_ACT_OPTIONS, attr(TCA_MIRRED_PARMS, fields))
    options = nested(TCA_MATCHALL_ACT, nested(1, action))
    # The info word is priority and protocol, the latter in network order.
    protocol = struct.unpack("=H", struct.pack("!H", ETH_P_ALL))[0]
    body = _TC.pack(0, 0, index, 0, INGRESS_HANDLE, 1 << 16 | protocol)
    body += text(TCA_KIND, "matchall") + nested(TCA_OPTIONS, options)
    return message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body)


def dump_qdiscs() -> bytes:
    """Return the request for all queueing disciplines of a namespace."""
    return message(RTM_GETQDISC, NLM_F_DUMP, _TC.pack(0, 0, 0, 0, 0, 0))


def lab_link_stats(answer: bytes) -> dict[int, dict[str, int]]:
    """Return the counters of every lab_link in a dump, by interface index."""
    found = {}
    for kind, _, body in split_messages(answer):
        if kind != RTM_NEWQDISC:
            continue
        (index,) = struct.unpack_from("=i", body, 4)
        attrs = split_attrs(body[_TC.size :])
        if attrs.get(TCA_KIND) == b"lab_link\0":
            stats = split_attrs(attrs[TCA_STATS2])
            values = _STATS.unpack_from(stats[TCA_STATS_APP])
            found[index] = dict(zip(STATS_NAMES, values, strict=True))
            if TCA_STATS_BASIC in stats:
                _, found[index]["packets"] = _BASIC.unpack_from(stats[TCA_STATS_BASIC])
    return found
