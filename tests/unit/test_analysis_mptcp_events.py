# SPDX-License-Identifier: Apache-2.0
"""MPTCP events as the kernel sent them; recorded in the lab with Linux 7.3."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.parse.mptcp_events import parse_mptcp_events
from testbed.errors import RunInvalid

DATA = Path(__file__).parents[1] / "data" / "mptcp_events"


def recorded(name):
    return parse_mptcp_events((DATA / f"7.3-laptop-{name}.bin").read_bytes())


def test_a_connection_and_its_subflows():
    """WiFi begins, 3G joins with address 2; in the tunnel WiFi's subflow is closed."""
    events = recorded("full")

    kinds = [event.event for event in events]
    assert kinds[:3] == ["created", "established", "subflow_established"]
    assert kinds[-1] == "closed"
    assert len({event.token for event in events}) == 1
    assert events[0].local.startswith("10.0.1.2:")
    assert events[0].remote == "10.0.5.1:3128"
    join = events[2]
    assert (join.local.rpartition(":")[0], join.local_id, join.remote_id) == ("10.0.2.2", 2, 0)
    assert (join.is_backup, join.error) == (0, None)
    assert "subflow_closed" in kinds


def test_break_before_make_closes_one_subflow_before_it_opens_the_next():
    kinds = [event.event for event in recorded("single")]
    open_subflows = 0
    for kind in kinds:
        open_subflows += {"established": 1, "subflow_established": 1, "subflow_closed": -1}.get(
            kind, 0
        )
        assert open_subflows <= 1


def test_times_ascend():
    times = [event.t_ns for event in recorded("full")]

    assert times == sorted(times)


def test_a_file_that_was_cut_is_refused():
    whole = (DATA / "7.3-laptop-full.bin").read_bytes()
    for length in (5, 13, len(whole) - 1):
        with pytest.raises(RunInvalid, match="the file ends within a record, at byte"):
            parse_mptcp_events(whole[:length])


def test_an_unknown_event_keeps_its_number():
    message = struct.pack("=IHHII", 20, 30, 0, 0, 0) + struct.pack("=BBH", 99, 1, 0)
    (event,) = parse_mptcp_events(struct.pack("<QI", 7, len(message)) + message)

    assert (event.t_ns, event.event, event.token, event.local) == (7, "event_99", None, "")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(RunInvalid):
        parse_mptcp_events(struct.pack("<QI", 1, len(data)) + data)
