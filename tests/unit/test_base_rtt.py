# SPDX-License-Identifier: Apache-2.0
"""The base RTT: its packet, and what it should be."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.collectors.base_rtt import PACKET_BYTES, asked_rtt_s, checksum, far_address


def test_checksum_of_rfc_1071():
    """The example of section 3: the sum of its words is ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2 == 0x220D


@given(st.binary(max_size=64).map(lambda data: data + data))
def test_what_carries_its_checksum_has_none(data):
    """How a receiver checks: the checksum of all words with the checksum among them is 0."""
    assert checksum(data + struct.pack("!H", checksum(data))) == 0


def link(name, number, up, down):
    return {
        "name": name,
        "a_address": f"10.0.{number}.2",
        "b_address": f"10.0.{number}.1",
        "a_to_b": {"one_way_delay_s": up[0], "rate_bps": up[1]},
        "b_to_a": {"one_way_delay_s": down[0], "rate_bps": down[1]},
    }


LINKS = [
    link("wifi", 1, (0.010, 8_000_000), (0.020, 4_000_000)),
    link("core", 2, (0.001, None), (0.002, None)),
]


def test_asked_rtt_is_delay_and_serialisation_there_and_back():
    by_name = {one["name"]: one for one in LINKS}
    path = {"hops": [["wifi", "a_to_b"], ["core", "b_to_a"]]}
    sending_s = PACKET_BYTES * 8 / 8e6 + PACKET_BYTES * 8 / 4e6
    assert asked_rtt_s(by_name, path) == pytest.approx(0.033 + sending_s)


def test_packet_is_as_long_as_a_ping_of_36_bytes():
    assert PACKET_BYTES == 64


@pytest.mark.parametrize(("direction", "address"), [("a_to_b", "10.0.2.1"), ("b_to_a", "10.0.2.2")])
def test_far_address_is_that_of_the_last_link(direction, address):
    assert far_address(LINKS, {"hops": [["wifi", "a_to_b"], ["core", direction]]}) == address
