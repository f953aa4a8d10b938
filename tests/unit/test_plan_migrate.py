# SPDX-License-Identifier: Apache-2.0
"""A migration as plain data: what each variant makes of it, and what cannot be carried out."""

import json

import pytest

from testbed.errors import PlanError
from testbed.plan import plan_run
from testbed.plan.migrate import VARIANTS
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: migrate
question: What becomes of the connections?
topology: wide_area
duration: 60 s
workload: {name: migrate}
"""


def plan(**said):
    values = {key.replace("__", "."): value for key, value in said.items()}
    return plan_run(parse_spec(SPEC, "f.yaml", values), 1)


def refused(**said):
    with pytest.raises(PlanError) as caught:
        plan(**said)
    return str(caught.value)


@pytest.mark.parametrize("mode", VARIANTS)
def test_every_variant_is_plain_data(mode):
    made = plan(mode=mode)
    assert json.loads(json.dumps(made))["workload"]["variant"] == made["mode"] == mode
    assert made["transport"] == mode.partition("-")[0]
    assert made["paths_at_start"] == ["a"]
    assert made["possible_use"] == ["a", "b"]


def test_make_before_break_is_the_default():
    assert plan()["mode"] == "mptcp-make-before-break"


def test_the_machine_manages_its_own_paths():
    script = plan(mode="mptcp-break-before-make")["path_manager"]["script"]
    assert [(s["when"], s["of"], s["do"], s["path"]) for s in script] == [
        ("resumed", None, "add_subflow", "b"),
        ("established", "b", "remove", "a"),
        ("established", "b", "close", "a"),
    ]
    assert plan(mode="tcp-proxy")["path_manager"] is None


def test_with_a_tunnel_the_old_subflow_is_closed_later():
    script = plan(mode="mptcp-make-before-break")["path_manager"]["script"]
    assert [(s["do"], s["after_s"]) for s in script] == [
        ("add_subflow", 0),
        ("set_backup", 0),
        ("remove", 0.2),
        ("close", 0.2),
    ]


def test_an_experiment_may_have_a_script_of_its_own():
    own = [{"when": "stopped", "do": "announce", "path": "a"}]
    made = plan(mptcp__path_manager="userspace", mptcp__script=own)
    assert [step["do"] for step in made["path_manager"]["script"]] == ["announce"]


@pytest.mark.parametrize(
    ("mode", "tunnel", "address", "survives"),
    [
        ("mptcp-make-before-break", True, "10.0.2.2", True),
        ("mptcp-break-before-make", False, "10.0.2.2", True),
        ("tcp-renumbered", False, "10.0.2.2", False),
        ("tcp-l2-tunnel", True, None, True),
        ("tcp-proxy", False, "10.0.2.2", True),
    ],
)
def test_what_a_variant_does(mode, tunnel, address, survives):
    workload = plan(mode=mode)["workload"]
    assert bool(workload["tunnel"]) == tunnel
    assert workload["new_address"] == address
    assert workload["must_survive"] == survives
    assert bool(workload["proxy"]) == (mode == "tcp-proxy")


def test_only_a_tunnel_brings_an_address_to_the_other_path():
    of_b = [one.get("tunnelled") for one in plan()["topology"]["paths"]]
    assert of_b == [None, ["10.0.1.2"]]
    assert [one.get("tunnelled") for one in plan(mode="tcp-proxy")["topology"]["paths"]] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"mode": "mptcp-make-before-brake"},
            'mode: "mptcp-make-before-brake" is not a variant of the workload "migrate" '
            '(did you mean "mptcp-make-before-break"?)',
        ),
        (
            {"topology": "underground"},
            'the workload "migrate" needs a node "vm", which the topology "underground" does not '
            'have; use "wide_area"',
        ),
        (
            {"workload__dirty_rate": "80 Mbit/s"},
            "workload: with 80 Mbit/s written and 64 Mbit/s sent the rounds never converge to what "
            "fits into downtime_limit, 0.3 s; give max_rounds",
        ),
        (
            {"workload__bandwidth": "200 Mbit/s"},
            "workload.bandwidth: 200 Mbit/s is more than the link wan has; lower it or give "
            "links.wan.rate",
        ),
        (
            {"duration": "20 s"},
            "duration: the migration and what comes after it take 21.3 s by the model, but the run "
            "ends at 20 s",
        ),
        (
            {"events": [{"at": "3 s", "change": "link_down", "link": "wan"}]},
            "workload.at: the link wan is down at 5 s, so that the machine cannot be moved; move "
            "it when the link is up",
        ),
    ],
)
def test_what_cannot_be_carried_out(said, message):
    assert refused(**said) == message


def test_a_link_that_is_up_again_in_time_is_no_problem():
    events = [
        {"at": "1 s", "change": "link_down", "link": "wan"},
        {"at": "4 s", "change": "link_up", "link": "wan"},
    ]
    assert plan(events=events)["workload"]["at_s"] == 5


def test_seeds_give_other_contents():
    flows = plan()["workload"]["flows"]
    assert flows[0]["seed"] != flows[1]["seed"]


def test_the_kernels_own_path_manager_goes_by_endpoints():
    made = plan(mptcp__path_manager="kernel")
    assert made["path_manager"] is None
    assert [one["path"] for one in made["endpoints"]] == ["a", "b"]
    assert plan()["endpoints"] == plan(mode="tcp-proxy")["endpoints"] == []
