# SPDX-License-Identifier: Apache-2.0
"""Traffic control: what we ask of lab_link, of tc's own disciplines, and what we read."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.netlink import qdisc
from testbed.netlink.message import HEADER, message, nested, split_attrs, text
from tests.unit.netlink_recorded import exact, meaning, recorded

MODULE = Path(__file__).parents[2] / "kernel/modules/net/sched/sch_lab_link.c"
TC_STRUCT_BYTES = 20
ACTION = {qdisc.TCA_ACT_OPTIONS: (0, {})}
FILTER = {qdisc.TCA_OPTIONS: (0, {qdisc.TCA_MATCHALL_ACT: (0, {1: (0, ACTION)})})}


def test_ingress_is_that_of_tc():
    assert exact(qdisc.new_ingress(12)) == exact(recorded("new_ingress"))


def test_dump_is_that_of_tc():
    assert exact(qdisc.dump_qdiscs()) == exact(recorded("dump_qdiscs"))


def test_redirection_is_that_of_tc():
    ours, theirs = qdisc.redirect_ingress(12, 1012), recorded("redirect_ingress")
    assert meaning(ours, TC_STRUCT_BYTES, FILTER) == meaning(theirs, TC_STRUCT_BYTES, FILTER)


def test_numbers_are_those_of_the_module():
    """The attributes and counters are in the order of the kernel module's source."""
    source = MODULE.read_text()
    names = re.findall(r"^\t(LAB_LINK_\w+),", source, flags=re.MULTILINE)
    for number, name in enumerate(names):
        if name not in ("LAB_LINK_UNSPEC", "LAB_LINK_PAD"):
            assert getattr(qdisc, name) == number
    counters = re.search(r"struct lab_link_stats \{(.*?)\};", source, flags=re.DOTALL)
    assert tuple(re.findall(r"\tu64 (\w+);", counters[1])) == qdisc.STATS_NAMES


def test_new_link():
    change = qdisc.LinkChange(
        rate_bps=8_000_000, one_way_delay_s=0.010, queue_bytes=80_000, loss_fraction=0.25
    )
    assert qdisc.new_lab_link(12, change).hex(" ", 4) == (
        "60000000 24000106 00000000 00000000"  # 96 bytes, RTM_NEWQDISC, REQUEST | EXCL | CREATE
        " 00000000 0c000000 00000100 ffffffff 00000000"  # interface 12, handle 1:, root
        " 0d000100 6c61625f 6c696e6b 00000000"  # "lab_link"
        " 2c000280"  # nested options
        " 0c000100 40420f00 00000000"  # 1 000 000 byte/s
        " 0c000200 80969800 00000000"  # 10 000 000 ns
        " 08000300 80380100"  # 80 000 bytes
        " 08000400 00000040"  # a quarter of 2^32
    )


def test_change_in_place_neither_creates_nor_replaces():
    change = qdisc.LinkChange(is_up=False).attrs()
    assert qdisc.change_lab_link(12, change).hex(" ", 4) == (
        "40000000 24000100 00000000 00000000"
        " 00000000 0c000000 00000100 ffffffff 00000000"
        " 0d000100 6c61625f 6c696e6b 00000000"
        " 0c000280 08000600 00000000"
    )


def test_what_is_none_is_not_sent():
    assert qdisc.LinkChange().attrs() == b""


def test_false_and_zero_are_sent():
    attrs = split_attrs(qdisc.LinkChange(rate_bps=0, is_up=False).attrs())
    assert attrs == {qdisc.LAB_LINK_RATE: bytes(8), qdisc.LAB_LINK_UP: bytes(4)}


def test_unlimited_rate_is_not_divided():
    attrs = split_attrs(qdisc.LinkChange(rate_bps=qdisc.RATE_UNLIMITED).attrs())
    assert attrs[qdisc.LAB_LINK_RATE] == b"\xff" * 8


@given(st.floats(min_value=0, max_value=1))
def test_every_loss_has_a_number(loss):
    """Also a loss that rounds to 1 fits into 32 bits."""
    attrs = split_attrs(qdisc.LinkChange(loss_fraction=loss).attrs())
    (number,) = struct.unpack("=I", attrs[qdisc.LAB_LINK_LOSS])
    assert abs(number / 2**32 - loss) <= 2**-32


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20).map(sorted),
    st.integers(0, 2**32 - 1),
)
def test_trace_arrives_in_parts(times, period_ms):
    """The first part replaces the trace, the others go on, the period and the start come last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdisc, "TRACE_CHUNK", 7)
        *parts, last = qdisc.trace_options(times, period_ms, -5)
    received = []
    for number, part in enumerate(parts):
        attrs = split_attrs(part)
        kind = qdisc.LAB_LINK_TRACE_MORE if number else qdisc.LAB_LINK_TRACE
        received += struct.unpack(f"={len(attrs[kind]) // 4}I", attrs[kind])
        assert (attrs.get(qdisc.LAB_LINK_TRACE_PERIOD) == bytes(4)) == (number == 0)
    assert received == times
    assert split_attrs(last) == {
        qdisc.LAB_LINK_TRACE_PERIOD: struct.pack("=I", period_ms),
        qdisc.LAB_LINK_TRACE_START: struct.pack("=q", -5),
    }


def test_part_of_a_trace_fits_into_an_attribute():
    parts = qdisc.trace_options(range(100_000), 0, 0)
    assert len(parts) == 8
    assert max(len(nested(qdisc.TCA_OPTIONS, part)) for part in parts) < 2**16


def answer(index, kind, counters):
    app = nested(qdisc.TCA_STATS2, _padded(qdisc.TCA_STATS_APP, struct.pack("=8Q", *counters)))
    body = struct.pack("=BxHiIII", 0, 0, index, 0x10000, 0xFFFFFFFF, 2)
    return message(qdisc.RTM_NEWQDISC, 0, body + text(qdisc.TCA_KIND, kind) + app)


def _padded(kind, data):
    return struct.pack("=HH", len(data) + 4, kind) + data


def test_counters_by_interface():
    """Other disciplines and other messages are passed over."""
    done = HEADER.pack(20, 3, 2, 0, 0) + bytes(4)
    block = answer(1, "noqueue", range(8)) + answer(12, "lab_link", range(10, 18)) + done
    assert qdisc.lab_link_stats(block) == {
        12: {
            "dropped_full": 10,
            "dropped_loss": 11,
            "dropped_down": 12,
            "delivered_bytes": 13,
            "opportunities": 14,
            "max_backlog": 15,
            "busy_ns": 16,
            "backlog": 17,
        }
    }


def test_packets_are_the_kernels_own_count():
    """struct gnet_stats_basic: bytes, packets."""
    basic = _padded(qdisc.TCA_STATS_BASIC, struct.pack("=QI", 4500, 3))
    app = _padded(qdisc.TCA_STATS_APP, struct.pack("=8Q", *range(8)))
    body = struct.pack("=BxHiIII", 0, 0, 12, 0x10000, 0xFFFFFFFF, 2)
    body += text(qdisc.TCA_KIND, "lab_link") + nested(qdisc.TCA_STATS2, basic + app)
    found = qdisc.lab_link_stats(message(qdisc.RTM_NEWQDISC, 0, body))
    assert found[12]["packets"] == 3
