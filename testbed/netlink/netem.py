# SPDX-License-Identifier: Apache-2.0
"""Traffic control that every kernel has: netem for delay and loss, tbf for a rate and its queue.

On one interface netem is the root and tbf its child, as tc-netem(8) has it: a packet is delayed
first and waits for the rate then. For a constant delay that looks from outside as the other order.
"""

import struct
from typing import NamedTuple

from testbed.netlink.message import (
    NLM_F_CREATE,
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
from testbed.netlink.qdisc import (
    RTM_NEWQDISC,
    TC_H_ROOT,
    TCA_KIND,
    TCA_OPTIONS,
    TCA_STATS2,
    TCA_STATS_BASIC,
)

# include/uapi/linux/rtnetlink.h, pkt_sched.h, gen_stats.h
TCA_STAB = 8
TCA_STAB_BASE = 1
TCA_STATS_QUEUE = 3
TCA_NETEM_LATENCY64 = 10
TCA_NETEM_PRNG_SEED = 14
TCA_TBF_PARMS = 1
TCA_TBF_RATE64 = 4
TCA_TBF_BURST = 6
LINKLAYER_ETHERNET = 1

ROOT_HANDLE = 0x10000  # 1:
CHILD_PARENT = 0x10001  # 1:1
ETHERNET_BYTES = 14

# What netem holds is on its way or waits; the limit of what waits is tbf's, so netem has none.
NETEM_PACKETS = 1_000_000
UNLIMITED_QUEUE_BYTES = 2**31 - 1

# tbf may send so much at once after it was idle or woken late. A timer of an ordinary kernel is
# late by a fraction of a millisecond, and what is late beyond the burst is lost for the rate.
CATCH_UP_S = 4e-3
LONGEST_PACKET_BYTES = 1514

_TC = struct.Struct("=BxHiIII")
_NETEM = struct.Struct("=6I")  # latency, limit, loss, gap, duplicate, jitter
_RATE = struct.Struct("=BBHhHI")  # cell_log, linklayer, overhead, cell_align, mpu, rate
_BASIC = struct.Struct("=QI")  # bytes, packets that left
_QUEUE = struct.Struct("=5I")  # packets, bytes, drops, requeues, overlimits


class Counters(NamedTuple):
    """What one queueing discipline counted.

    Attributes:
        sent_bytes, sent_packets: that left.
        waiting_packets, waiting_bytes: in it now.
        dropped_packets: by it, or by its child.
    """

    sent_bytes: int
    sent_packets: int
    waiting_packets: int
    waiting_bytes: int
    dropped_packets: int


def set_netem(
    index: int, delay_s: float, loss_fraction: float, seed: int | None, *, flags: int
) -> bytes:
    """Return the request that makes or changes the netem of an interface.

    Args:
        index: of the interface.
        delay_s: of every packet.
        loss_fraction: of independent losses.
        seed: of the losses; kernels before 6.7 have none and pass over it.
        flags: 0 changes in place; NEW and REPLACE make one.
    """
    loss = min(round(loss_fraction * 2**32), 2**32 - 1)
    options = _NETEM.pack(0, NETEM_PACKETS, loss, 0, 0, 0)
    options += s64(TCA_NETEM_LATENCY64, round(delay_s * 1e9))
    if seed is not None:
        options += u64(TCA_NETEM_PRNG_SEED, seed % 2**64)
    body = _TC.pack(0, 0, index, ROOT_HANDLE, TC_H_ROOT, 0)
    body += text(TCA_KIND, "netem") + attr(TCA_OPTIONS, options) + _ip_bytes_only()
    return message(RTM_NEWQDISC, flags, body)


NEW = NLM_F_CREATE | NLM_F_EXCL
REPLACE = NLM_F_CREATE | NLM_F_REPLACE


def set_tbf(index: int, number: int, rate_bps: int, queue_bytes: int | None, flags: int) -> bytes:
    """Return the request that makes or changes the rate behind the netem of an interface.

    Args:
        index: of the interface.
        number: of the tbf; another number replaces it, and its queue is lost.
        rate_bps: bit/s of IP packets.
        queue_bytes: that may wait; None: any number.
        flags: as for set_netem.
    """
    rate_bytes = max(rate_bps // 8, 1)
    limit = UNLIMITED_QUEUE_BYTES if queue_bytes is None else max(queue_bytes, 1)
    rate = _RATE.pack(0, LINKLAYER_ETHERNET, 0, 0, 0, min(rate_bytes, 2**32 - 1))
    parameters = rate + _RATE.pack(0, 0, 0, 0, 0, 0) + struct.pack("=III", limit, 0, 0)
    options = attr(TCA_TBF_PARMS, parameters) + u32(TCA_TBF_BURST, burst_bytes(rate_bps))
    if rate_bytes >= 2**32:
        options += u64(TCA_TBF_RATE64, rate_bytes)
    body = _TC.pack(0, 0, index, (1 + number) << 16, CHILD_PARENT, 0)
    body += text(TCA_KIND, "tbf") + nested(TCA_OPTIONS, options)
    return message(RTM_NEWQDISC, flags, body)


def burst_bytes(rate_bps: int) -> int:
    """Return how much a tbf of a rate may send at once."""
    return LONGEST_PACKET_BYTES + int(rate_bps / 8 * CATCH_UP_S)


def _ip_bytes_only() -> bytes:
    """Return the size table that leaves the Ethernet header out: rates here are of IP packets."""
    # struct tc_sizespec: cell_log, size_log, cell_align, overhead, linklayer, mpu, mtu, tsize
    spec = struct.pack("=BBhiIIII", 0, 0, 0, -ETHERNET_BYTES, LINKLAYER_ETHERNET, 0, 0, 0)
    return nested(TCA_STAB, attr(TCA_STAB_BASE, spec))


def counters(answer: bytes) -> dict[tuple[int, str], Counters]:
    """Return the counters of every netem and tbf in a dump, by interface and kind."""
    found = {}
    for kind, _, body in split_messages(answer):
        if kind != RTM_NEWQDISC:
            continue
        (index,) = struct.unpack_from("=i", body, 4)
        attrs = split_attrs(body[_TC.size :])
        name = attrs.get(TCA_KIND, b"").rstrip(b"\0").decode()
        if name in ("netem", "tbf"):
            stats = split_attrs(attrs[TCA_STATS2])
            sent = _BASIC.unpack_from(stats[TCA_STATS_BASIC])
            packets, size, drops, _, _ = _QUEUE.unpack_from(stats[TCA_STATS_QUEUE])
            found[index, name] = Counters(sent[0], sent[1], packets, size, drops)
    return found
