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


def frames(
    *,
    direct=1000,
    through=9000,
    counted=10_000,
    is_left=False,
    sha=None,
    joined=True,
    kind="nat",
    log=None,
    segments=None,
    passages=None,
):
    digest = hashlib.sha256(b"".join(content.blocks(3, SIZE))).hexdigest()
    workload = {
        "name": "middlebox",
        "scene": "insert",
        "middlebox": kind,
        "segments": segments,
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
        run={
            "workload": workload,
            "topology": {
                "links": [
                    {"a": "m1", "b": "near", "a_address": "10.0.4.2", "b_address": "10.0.4.1"}
                ],
                "paths": [{"addresses": ["10.0.1.2"]}],
            },
        },
        manifest={"workload": {"flows": [flow]}},
        script_log=[{"t_s": 5.1, "event": "subflow_established"}] if joined else log or [],
        passages=passages or {},
        inspections=pd.DataFrame({"node": [], "t_s": [], "bytes": []}),
        subflows=pd.DataFrame({"subflow": [0, 1], "remote": ["10.0.3.1:7001", "10.0.4.2:7001"]}),
        data=pd.DataFrame(
            {"subflow": [0, 0, 1], "t_s": [1.0, 6.0, 6.0], "new_bytes": [5000, direct, through]}
        ),
        reads=pd.DataFrame({"t_s": [2.0, 2.1, 4.9, 5.2, 5.9, 6.0]}),
        inspected={"m1": {"a > b": counted}},
    )


def passed(segments, size=9000):
    return pd.DataFrame(
        {
            "t_s": [6.0, 6.0],
            "source": ["10.0.1.2", "10.0.4.2"],
            "target": ["10.0.4.2", "10.0.1.2"],
            "segments": segments,
            "segments_left": 0,
            "payload_bytes": [0, size],
            "ip_bytes": [60, size + 60],
        }
    )


def test_that_a_proxy_refuses_a_subflow_is_what_the_run_shows():
    refused = [{"event": "subflow_closed", "errno": 111}]
    assert reasons(kind="proxy", joined=False, log=refused) == []
    made = frames(joined=False, log=[{"do": "add_subflow", "error": "no path"}])
    assert middlebox.fate_of_subflow(made) == "not opened: no path"


def test_segments_that_were_seen():
    made = frames(passages={"m1": passed("5f00::1 5f00::2")})
    assert middlebox.segments_seen(made) == ["5f00::1", "5f00::2"]
    assert middlebox.segments_seen(frames()) is None


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
        (
            {"joined": False},
            "the new subflow was not established (unanswered); over the old one the download is "
            "complete",
        ),
        (
            {"joined": False, "log": [{"event": "subflow_closed", "errno": 113}]},
            "the new subflow was not established (no route to host); over the old one the "
            "download is complete",
        ),
        (
            {"kind": "proxy"},
            "the new subflow was to be refused, for a proxy is no part of it, but: established",
        ),
        (
            {"direct": 0, "segments": ["5f00::1"], "passages": {"m1": passed("")}},
            "what passed m1 had the segment list None, asked was ['5f00::1']",
        ),
        (
            {"direct": 0, "passages": {"m1": passed("", 8000)}},
            "the client got 9000 bytes from the middlebox m1, which sent on 8000",
        ),
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
