# SPDX-License-Identifier: Apache-2.0
"""A connection that is led through a middlebox, as plain data."""

import pytest

from testbed.errors import PlanError
from testbed.plan import plan_run
from testbed.plan.middlebox import SCENES
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: middlebox
question: What does the application notice?
topology: middlebox
duration: 30 s
workload: {name: middlebox}
"""
M1, M2, SERVER, PINNED = "10.0.4.2", "10.0.5.2", "10.0.3.1", "10.0.3.3"


def plan(**said):
    values = {key.replace("__", "."): value for key, value in said.items()}
    return plan_run(parse_spec(SPEC, "f.yaml", values), 1)


def refused(**said):
    with pytest.raises(PlanError) as caught:
        plan(**said)
    return str(caught.value)


@pytest.mark.parametrize(
    ("mode", "first", "then"),
    [("insert", SERVER, M1), ("bypass", M1, SERVER), ("chain", SERVER, M1)],
)
def test_where_a_scene_begins_and_goes(mode, first, then):
    made = plan(mode=mode)
    join, backup = made["path_manager"]["script"]

    assert made["workload"]["receiver"]["address"] == first
    assert (join["do"], join["to"], join["at_s"]) == ("add_subflow", then, 5)
    assert (backup["do"], backup["to"], backup["of_address"]) == ("set_backup", first, then)
    assert made["workload"]["is_left"] == (mode == "bypass")


def test_the_old_subflow_may_be_closed():
    script = plan(workload__old="close")["path_manager"]["script"]
    assert [(step["do"], step["after_s"]) for step in script][-1] == ("close", 1)


def test_a_chain_leads_from_one_to_the_next():
    rules = plan(mode="chain")["workload"]["middleboxes"]
    assert f"ip daddr {M1} tcp dport 7001 dnat to {M2}:7001" in rules["m1"]
    assert f"ip daddr {M2} tcp dport 7001 dnat to {SERVER}:7001" in rules["m2"]
    assert list(plan(mode="insert")["workload"]["middleboxes"]) == ["m1"]


def test_segments_lead_to_a_second_address_of_the_server_and_back():
    made = plan(mode="srv6")
    topology, workload = made["topology"], made["workload"]
    (forth,) = [entry for entry in topology["routes"]["near"] if "segments" in entry]
    (back,) = [entry for entry in topology["routes"]["far"] if "segments" in entry]

    assert (forth["destination"], forth["segments"]) == (PINNED, ["5f00:0:2::1", "5f00:0:3::1"])
    assert back["segments"] == ["5f00:0:2::1", "5f00:0:1::1"]
    assert [one["from"] for one in topology["rules"]["far"]] == [PINNED]
    assert [one["address"] for one in topology["addresses"]["m1"]] == ["5f00:0:2::1"]
    assert workload["segments"] == forth["segments"]
    assert made["path_manager"]["script"][0]["to"] == PINNED
    # No address of the middlebox in the packets of the hosts.
    assert workload["middlebox_address"] == PINNED
    assert [one["file"] for one in made["captures"]] == ["client.access.pcap", "m1.m1-near.pcap"]
    assert made["captures"][1]["snap_bytes"] >= 14 + 80 + 20 + 60


@pytest.mark.parametrize(
    ("mode", "first", "then"), [("insert", SERVER, PINNED), ("bypass", PINNED, SERVER)]
)
def test_a_transparent_proxy_is_on_the_way_to_an_address_of_the_server(mode, first, then):
    made = plan(mode=mode, workload__middlebox="proxy")
    (rule,) = made["topology"]["rules"]["near"]
    (entry,) = [one for one in made["topology"]["routes"]["near"] if one.get("table")]

    assert made["workload"]["receiver"]["address"] == first
    assert made["path_manager"]["script"][0]["to"] == then
    assert (rule["interface"], entry["destination"]) == ("near-client", PINNED)
    assert entry["interface"] == "near-m1"
    assert "tproxy to :7001" in made["workload"]["middleboxes"]["m1"]
    assert made["workload"]["proxy"] == {"node": "m1", "port": 7001}


def test_an_inspector_logs_and_is_captured():
    made = plan(mode="chain", workload__middlebox="inspector", workload__inspect_interval="1 s")
    assert (made["workload"]["logs"], made["workload"]["log_interval_s"]) == (["m1", "m2"], 1)
    files = [one["file"] for one in made["captures"]]
    assert files == ["client.access.pcap", "m1.m1-near.pcap", "m2.m2-far.pcap"]
    assert plan(mode="chain")["workload"]["logs"] == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"mode": "chains"},
            'mode: "chains" is not a scene of the workload "middlebox" (did you mean "chain"?)',
        ),
        (
            {"mode": "srv6", "workload__middlebox": "nat"},
            "workload.middlebox: a segment list leads packets past the middlebox as they are, so "
            'in the scene "srv6" it can only be an inspector, not a nat',
        ),
        (
            {"mode": "chain", "workload__middlebox": "proxy"},
            'workload.middlebox: the first proxy of the scene "chain" ends the connection, so '
            "nothing of it reaches the second; use insert or bypass",
        ),
        (
            {"events": [{"at": "5 s", "change": "link_down", "link": "m1"}]},
            "events: the link m1 is down at 5 s, so that the middlebox m1 cannot be reached; let "
            "it come up before that",
        ),
        (
            {"mode": "chain", "events": [{"at": "1 s", "change": "link_down", "link": "m2"}]},
            "events: the link m2 is down at 5 s, so that the middlebox m2 cannot be reached; let "
            "it come up before that",
        ),
        (
            {"mode": "bypass", "events": [{"at": "0 s", "change": "link_down", "link": "m1"}]},
            "events: the link m1 is down at 0 s, so that the middlebox m1 cannot be reached; let "
            "it come up before that",
        ),
        (
            {"topology": "wide_area"},
            'the workload "middlebox" needs a node "server", which the topology "wide_area" does '
            'not have; use "middlebox"',
        ),
        (
            {"workload__end": "4 s"},
            "workload: the change at 5 s, the end of the transfer at 4 s and the run's at 30 s "
            "must follow one another",
        ),
    ],
)
def test_what_cannot_be_carried_out(said, message):
    assert refused(**said) == message


def test_a_link_that_is_up_again_or_goes_down_later_is_no_fault_of_the_plan():
    def events(*changes):
        return [{"at": at, "change": change, "link": "m1"} for at, change in changes]

    assert plan(events=events(("1 s", "link_down"), ("4 s", "link_up")))
    assert plan(events=events(("5.001 s", "link_down")))
    assert plan(mode="bypass", events=events(("4 s", "link_down")))


def test_every_scene_is_known():
    assert [plan(mode=mode)["mode"] for mode in SCENES] == list(SCENES)


def test_the_kernels_own_path_manager_cannot_do_it():
    assert refused(mptcp__path_manager="kernel").startswith(
        "mptcp.path_manager: the kernel's own opens subflows to announced addresses only"
    )
