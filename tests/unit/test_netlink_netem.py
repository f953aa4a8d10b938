# SPDX-License-Identifier: Apache-2.0
"""What we ask of netem and tbf, byte for byte, and what we read of their counters."""

import struct

from testbed.netlink import netem
from testbed.netlink.message import attr, message, nested, split_attrs, text
from testbed.netlink.qdisc import RTM_NEWQDISC, TCA_KIND, TCA_STATS2


def test_netem():
    asked = netem.set_netem(12, 0.010, 0.25, None, flags=netem.NEW)
    assert asked.hex(" ", 4) == (
        "78000000 24000106 00000000 00000000"  # 120 bytes, RTM_NEWQDISC, REQUEST | EXCL | CREATE
        " 00000000 0c000000 00000100 ffffffff 00000000"  # interface 12, handle 1:, root
        " 0a000100 6e657465 6d000000"  # "netem"
        " 28000200 00000000 40420f00 00000040 00000000 00000000 00000000"  # 10^6 packets, a quarter
        " 0c000a00 80969800 00000000"  # 10 000 000 ns
        " 20000880 1c000100 00000000 f2ffffff 01000000 00000000 00000000 00000000"  # -14 bytes
    )


def test_tbf():
    asked = netem.set_tbf(12, 1, 8_000_000, 80_000, netem.REPLACE)
    assert asked.hex(" ", 4) == (
        "60000000 24000105 00000000 00000000"  # 96 bytes, RTM_NEWQDISC, REQUEST | REPLACE | CREATE
        " 00000000 0c000000 00000200 01000100 00000000"  # interface 12, handle 2:, parent 1:1
        " 08000100 74626600"  # "tbf"
        " 34000280"
        " 28000100 00010000 00000000 40420f00"  # Ethernet, 1 000 000 byte/s
        " 00000000 00000000 00000000 80380100 00000000 00000000"  # no peak, 80 000 bytes
        " 08000600 8a150000"  # 1514 + 4000 bytes at once
    )


def test_a_rate_of_zero_is_the_slowest_that_there_is():
    options = split_attrs(split_attrs(netem.set_tbf(1, 1, 0, None, 0)[36:])[2])
    assert struct.unpack_from("=I", options[netem.TCA_TBF_PARMS], 8) == (1,)


def test_a_fast_rate_has_64_bits():
    options = split_attrs(split_attrs(netem.set_tbf(1, 1, 100_000_000_000, None, 0)[36:])[2])
    assert struct.unpack("=Q", options[netem.TCA_TBF_RATE64]) == (12_500_000_000,)


def test_counters_are_read_by_interface_and_kind():
    def one(index, kind, sent, queue):
        stats = attr(1, struct.pack("=QI", *sent)) + attr(3, struct.pack("=5I", *queue))
        body = struct.pack("=BxHiIII", 0, 0, index, 0x10000, 0, 0)
        return message(RTM_NEWQDISC, 0, body + text(TCA_KIND, kind) + nested(TCA_STATS2, stats))

    answer = one(7, "netem", (3000, 2), (5, 7500, 4, 0, 0)) + one(7, "noqueue", (0, 0), [0] * 5)
    assert netem.counters(answer) == {(7, "netem"): netem.Counters(3000, 2, 5, 7500, 4)}
