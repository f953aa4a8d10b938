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
M1, M2, SERVER = "10.0.4.2", "10.0.5.2", "10.0.3.1"


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


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"mode": "chains"},
            'mode: "chains" is not a scene of the workload "middlebox" (did you mean "chain"?)',
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


def test_every_scene_is_known():
    assert [plan(mode=mode)["mode"] for mode in SCENES] == list(SCENES)


def test_the_kernels_own_path_manager_cannot_do_it():
    assert refused(mptcp__path_manager="kernel").startswith(
        "mptcp.path_manager: the kernel's own opens subflows to announced addresses only"
    )
