# SPDX-License-Identifier: Apache-2.0
"""What a middlebox got to see, and what makes a scene no data point."""

import hashlib
import json
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis import middlebox
from analysis.parse.nft import parse_nft
from testbed import content
from testbed.errors import RunInvalid

SIZE = 50_000


def frames(*, direct=1000, through=9000, counted=10_000, is_left=False, sha=None, joined=True):
    digest = hashlib.sha256(b"".join(content.blocks(3, SIZE))).hexdigest()
    workload = {
        "name": "middlebox",
        "scene": "insert",
        "at_s": 5.0,
        "is_left": is_left,
        "middlebox_address": "10.0.4.2",
        "server": {"seed": 3},
    }
    flow = {
        "name": "download",
        "received_bytes": SIZE,
        "sent_sha256": digest,
        "received_sha256": sha or digest,
        "sender": "complete",
        "receiver": "complete",
    }
    return SimpleNamespace(
        run={"workload": workload},
        manifest={"workload": {"flows": [flow]}},
        script_log=[{"t_s": 5.1, "event": "subflow_established"}] if joined else [],
        subflows=pd.DataFrame({"subflow": [0, 1], "remote": ["10.0.3.1:7001", "10.0.4.2:7001"]}),
        data=pd.DataFrame(
            {"subflow": [0, 0, 1], "t_s": [1.0, 6.0, 6.0], "new_bytes": [5000, direct, through]}
        ),
        reads=pd.DataFrame({"t_s": [2.0, 2.1, 4.9, 5.2, 5.9, 6.0]}),
        inspected={"m1": {"a > b": counted}},
    )


def test_shares_before_and_after():
    made = frames()
    assert middlebox.fraction_via(made, last_s=5.0) == 0
    assert middlebox.fraction_via(made, 5.6) == pytest.approx(0.9)
    assert middlebox.fraction_via(made, 7.0) is None


def test_the_gap_is_the_longest_that_begins_at_the_change_or_later():
    assert middlebox.longest_gap_s(frames(), 5.0, 8.0) == pytest.approx(0.7)
    assert middlebox.longest_gap_s(frames(), 2.0, 5.0) == pytest.approx(2.8)


def reasons(**said):
    return [reason.message for reason in middlebox.check_middlebox(frames(**said))]


def test_a_scene_as_planned_is_a_data_point():
    assert reasons(direct=10, through=9990) == []
    assert reasons(direct=9990, through=10, is_left=True) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "90.0% of the later payload passed the middlebox m1"),
        ({"joined": False}, "the new subflow was not established, or carried nothing"),
        ({"sha": "x", "direct": 0}, "the download did not arrive whole: ended early"),
        (
            {"direct": 0, "counted": 8999},
            "the client got 9000 bytes from the middlebox m1, which counted 8999",
        ),
    ],
)
def test_what_makes_a_scene_no_data_point(said, message):
    assert reasons(**said) == [message]


def test_counters_of_nftables():
    element = {"elem": {"val": {"concat": ["10.0.1.2", 5, "10.0.4.2", 7001]},
                        "counter": {"packets": 2, "bytes": 120}}}  # fmt: skip
    said = {"nftables": [{"metainfo": {}}, {"set": {"name": "connections", "elem": [element]}}]}
    assert parse_nft(json.dumps(said).encode()) == {"10.0.1.2:5 > 10.0.4.2:7001": 120}
    with pytest.raises(RunInvalid, match="no rule set"):
        parse_nft(b"{}")
