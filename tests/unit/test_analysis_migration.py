# SPDX-License-Identifier: Apache-2.0
"""What a migration comes to, from what the receivers read, and what makes it no data point."""

import hashlib
import struct
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis import migration
from analysis.parse.reads import parse_reads
from testbed import content
from testbed.errors import RunInvalid

SIZE = 1_000_000


def flow(**said):
    digest = hashlib.sha256(b"".join(content.blocks(7, SIZE))).hexdigest()
    whole = {
        "name": "download",
        "sent_bytes": SIZE,
        "received_bytes": SIZE,
        "sent_sha256": digest,
        "received_sha256": digest,
        "sender": "complete",
        "receiver": "complete",
    }
    return {**whole, **said}


def frames(times=(), story=None, flows=(), must_survive=True, on_limit="stop"):
    precopy = {
        "memory_bytes": 64 * 2**20,
        "dirty_bytes_per_s": 2e6,
        "bandwidth_bytes_per_s": 8e6,
        "downtime_limit_s": 0.5,
    }
    workload = {
        "name": "migrate",
        "variant": "mptcp-make-before-break",
        "machine": "vm",
        "must_survive": must_survive,
        "on_limit": on_limit,
        "precopy": precopy,
        "flows": [{"name": "download", "seed": 7}],
    }
    wan = {"name": "wan", "a_to_b": {"one_way_delay_s": 0.01}}
    columns = ["host", "state", "remote", "rtt_ms", "t_s"]
    return SimpleNamespace(
        run={"workload": workload, "topology": {"links": [wan]}},
        manifest={"workload": {"migration": story or {}, "flows": list(flows)}},
        reads=pd.DataFrame({"flow": "download", "t_s": list(times), "bytes": 1000}),
        sockets=pd.DataFrame(columns=columns),
    )


STORY = {"started_s": 1.0, "stopped_s": 10.0, "resumed_s": 10.5, "outcome": "moved"}


def test_the_gap_is_the_silence_around_the_stop():
    made = frames([0.0, 3.0, 9.9, 10.52, 11.0, 11.9])
    gap_s, settling_s = migration.gaps_s(made, "download", STORY)
    assert gap_s == pytest.approx(0.62)
    assert settling_s == pytest.approx(0.9)


def test_what_was_left_unread_does_not_end_the_gap():
    """The machine reads at once what had arrived before it was stopped."""
    made = frames([9.9, 10.501, 11.2, 11.7])
    assert migration.gaps_s(made, "download", STORY)[0] == pytest.approx(0.699)


def test_a_transfer_that_fell_silent_is_not_as_fast_as_before():
    """1,000 bytes at 1, 2, ... 5 s; both ends were to stop after 10 s."""
    some = frames(times=[1.0, 2.0, 3.0, 4.0, 5.0])

    assert migration.goodput_mbps(some, "download", None) == pytest.approx(0.01)
    assert migration.goodput_mbps(some, "download", 11.0) == pytest.approx(0.004)
    assert migration.goodput_mbps(some, "download", 4.5) == pytest.approx(0.01)
    assert migration.goodput_mbps(frames(), "download", 11.0) == 0


@pytest.mark.parametrize(
    ("times", "story"),
    [([9.9, 10.51], STORY), ([], STORY), ([9.9, 20.0], {"stopped_s": 10.0})],
)
def test_there_is_no_gap_where_nothing_came_after(times, story):
    assert migration.gaps_s(frames(times), "download", story) == (None, None)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({}, "complete"),
        ({"sender": "cut off", "receiver": "cut off"}, "silent since 2.500 s"),
        ({"receiver": "connection reset by peer"}, "connection reset by peer"),
        ({"received_sha256": "x"}, "ended early"),
    ],
)
def test_the_fate_of_a_connection(said, what):
    assert migration.fate(frames([1.0, 2.5]), flow(**said)) == what


def reasons(**said):
    return [reason.message for reason in migration.check_migration(frames(**said))]


def test_a_migration_as_planned_is_a_data_point():
    assert reasons(story=STORY, flows=[flow()]) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"story": {}, "flows": []}, "the migration had not begun when the run's time was up"),
        (
            {"story": {"started_s": 1.0}, "flows": []},
            "the migration had not ended when the run's time was up",
        ),
        (
            {"story": {"outcome": "failed", "why": "no route"}, "flows": []},
            "the machine did not move: no route",
        ),
        (
            {"story": STORY, "flows": [flow(received_sha256="x")]},
            "the 1000000 bytes that the download brought are not the first ones that were sent",
        ),
        (
            {"story": STORY, "flows": [flow(receiver="cut off", sender="cut off")], "times": [2]},
            "the download did not survive: silent since 2.000 s",
        ),
        (
            {"story": STORY, "flows": [flow()], "must_survive": False},
            "the download survived the loss of its address, which cannot be",
        ),
    ],
)
def test_what_makes_a_run_no_data_point(said, message):
    assert message in reasons(**said)


def test_a_migration_that_gives_up_as_configured_is_one():
    story = {"outcome": "failed", "why": "the rounds did not converge"}
    assert reasons(story=story, flows=[flow()], on_limit="abort") == []


def test_rounds_are_what_their_length_makes_them():
    rounds = [{"bytes": 64 * 2**20, "started_s": 1.0, "ended_s": 9.4, "left_bytes": 16801792}]
    made = frames(story={"rounds": rounds})
    assert migration.check_model(made) == []
    rounds[0]["left_bytes"] += 2 * 4096
    (reason,) = migration.check_model(made)
    assert reason.message.startswith("round 1 left 16809984 bytes, its length makes ")


def test_rounds_stand_beside_the_model():
    rounds = [{"bytes": 64 * 2**20, "started_s": 1.0, "ended_s": 9.4, "left_bytes": 16801792}] * 5
    table = migration.rounds(frames(story={"rounds": rounds}))
    assert table["model_bytes"].tolist()[0] == 64 * 2**20
    assert table["model_s"].isna().tolist() == [False, False, False, True, True]


def test_reads_are_in_order_of_time():
    pack = struct.Struct("<QI").pack
    assert parse_reads(pack(5, 10) + pack(6, 20) + b"\0")["bytes"].tolist() == [10, 20]
    with pytest.raises(RunInvalid, match="before the one before it"):
        parse_reads(pack(6, 10) + pack(5, 20))
