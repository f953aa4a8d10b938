# SPDX-License-Identifier: Apache-2.0
"""What a middlebox logged, and what a capture at its interface says of packets with segments."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import inspection
from analysis.parse.nft import parse_inspection
from analysis.parse.records import iter_records
from analysis.parse.segment_routing import wrapped_packets
from testbed.errors import RunInvalid
from testbed.netlink.segment_routing import srh_of

DATA = Path(__file__).parents[1] / "data"
CAPTURE = (DATA / "srv6" / "7.3-m1.pcap").read_bytes()
LOG = (DATA / "nft" / "7.3-srv6.inspector.bin").read_bytes()
START_NS = 1_700_000_001_000_000_000
M1, FAR, NEAR = "5f00:0:2::1", "5f00:0:3::1", "5f00:0:1::1"
FORTH = "10.0.1.2:56463 > 10.0.3.3:7001"


def test_packets_are_seen_inside_their_segment_lists():
    table = inspection.passages(CAPTURE, START_NS)

    assert (
        list(table["segments"]) == [f"{M1} {FAR}"] * 2 + [f"{M1} {NEAR}"] * 2 + [f"{M1} {FAR}"] * 2
    )
    assert list(table["segments_left"]) == [1, 0] * 3
    assert table["connection"].iloc[0] == FORTH
    # A SYN of 60 + 12 bytes in 80 more: an IPv6 header and a list of two.
    assert table["ip_bytes"].iloc[0] == 60 + 12 + 80
    assert set(table["payload_bytes"]) == {0}


def test_the_kernels_header_is_the_one_that_was_asked_for():
    """But for what it fills in: the next header, IPv4."""
    data = np.frombuffer(CAPTURE, dtype=np.uint8)
    at = CAPTURE.find(bytes([4, 4, 4, 1, 1, 0, 0, 0]))
    asked = srh_of([M1, FAR])
    assert CAPTURE[at + 1 : at + len(asked)] == asked[1:]
    (records,) = iter_records(data)
    assert wrapped_packets(data, records).lists[0] == (M1, FAR)


def test_what_has_left_the_middlebox():
    table = inspection.passages(CAPTURE, START_NS)
    assert list(inspection.leaving(table, set(), "10.0.3.3")) == [False, True] * 3

    plain = pd.DataFrame(
        {
            "source": ["10.0.1.2", "10.0.4.2", "10.0.3.1", "10.0.3.3", "10.0.3.3"],
            "target": ["10.0.4.2", "10.0.3.1", "10.0.4.2", "10.0.1.2", "10.0.4.2"],
            "segments": "",
            "segments_left": 0,
        }
    )
    # The fourth: a transparent proxy answers from the address that the client meant.
    expected = [False, True, False, True, False]
    assert list(inspection.leaving(plain, {"10.0.4.2"}, "10.0.3.3")) == expected


def test_a_log_over_time():
    samples = parse_inspection(LOG)
    names = {name for _, name, _ in samples}
    assert names == {FORTH, "10.0.3.3:7001 > 10.0.1.2:56463"}
    down = [size for _, name, size in samples if name != FORTH]
    assert len(down) == 2
    assert 0 < down[0] < down[1]

    rows = inspection.log_rows(LOG, "m1", START_NS)
    total = inspection.logged_bytes(rows)
    assert list(total["bytes"]) == list(rows.groupby("t_s")["bytes"].sum())


@pytest.mark.parametrize("cut", [5, 40, len(LOG) - 1])
def test_a_log_that_is_cut_off(cut):
    with pytest.raises(RunInvalid, match="the log ends inside a record"):
        parse_inspection(LOG[:cut])


def test_bytes_by_a_time():
    table = pd.DataFrame({"t_s": [1.0, 2.0, 2.0], "ip_bytes": [10, 20, 30]})
    found = inspection.captured_bytes(table, pd.Series([0.5, 1.0, 1.9, 2.0]))
    assert list(found) == [0, 10, 10, 60]
