# SPDX-License-Identifier: Apache-2.0
"""The script of a path manager: what a file may say, and what becomes of it in run.json."""

import pytest

from analysis.checks import check_path_manager
from analysis.tables import Frames
from testbed.errors import PlanError, SpecError
from testbed.plan import plan_run
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: script
question: What does the script do?
topology: underground
duration: 20 s
workload: {name: bulk}
"""


def plan(*script, **more):
    said = {"mptcp.path_manager": "userspace", "mptcp.script": list(script), **more}
    return plan_run(parse_spec(SPEC, "f.yaml", said), 1)


def refused(*script, error=PlanError, **more):
    with pytest.raises(error) as caught:
        plan(*script, **more)
    return str(caught.value)


def test_the_kernel_manages_unless_it_is_told_otherwise():
    made = plan_run(parse_spec(SPEC, "f.yaml", {}), 1)
    assert made["path_manager"] is None
    assert "laptop" not in made["sysctls"]
    assert made["possible_use"] == []


def test_only_the_client_is_managed_in_userspace():
    made = plan({"at": "3 s", "do": "add_subflow", "path": "3g"})

    assert made["sysctls"]["laptop"] == {"net.mptcp.path_manager": "userspace"}
    assert made["mptcp"]["path_manager"] == "kernel"
    assert made["endpoints"] == []
    assert made["possible_use"] == ["wifi", "3g"]
    assert made["path_manager"] == {
        "node": "laptop",
        "script": [
            {
                "at_s": 3.0,
                "when": None,
                "of": None,
                "of_address": None,
                "after_s": 0.0,
                "do": "add_subflow",
                "path": "3g",
                "to": None,
                "port": None,
                "is_backup": False,
            }
        ],
    }


def test_a_path_without_a_step_may_carry_nothing():
    assert plan()["possible_use"] == ["wifi"]


@pytest.mark.parametrize(("to", "address"), [("proxy", "10.0.5.1"), ("10.0.6.1", "10.0.6.1")])
def test_where_a_subflow_goes(to, address):
    made = plan({"when": "established", "do": "add_subflow", "path": "3g", "to": to})
    assert made["path_manager"]["script"][0]["to"] == address


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            {"at": "1 s", "do": "close", "path": "wify"},
            'mptcp.script.0.path: "wify" is not a path of this network (did you mean "wifi"?)',
        ),
        (
            {"when": "closed", "of": "lte", "do": "close", "path": "wifi"},
            'mptcp.script.0.of: "lte" is no path, node or address of this network '
            "(there are wifi, 3g, laptop, ap, bs, core, proxy, origin)",
        ),
        (
            {"at": "1 s", "do": "add_subflow", "path": "3g", "to": "10.9.9.9"},
            'mptcp.script.0.to: "10.9.9.9" is neither a node nor an address of this network '
            "(there are laptop, ap, bs, core, proxy, origin)",
        ),
        (
            {"at": "20 s", "do": "close", "path": "wifi"},
            "mptcp.script.0 is at 20 s, but the run ends at 20 s",
        ),
        (
            {"when": "resumed", "do": "close", "path": "wifi"},
            'mptcp.script.0.when: only the workload "migrate" is ever resumed',
        ),
    ],
)
def test_names_and_times_that_mean_nothing(step, said):
    assert refused(step) == said


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("tcp-wifi", "uses TCP, which has no path manager"),
        ("mptcp-backup", "works by endpoints of the kernel's own"),
    ],
)
def test_modes_that_need_the_kernels_own(mode, said):
    assert said in refused(mode=mode)


def test_endpoints_are_the_kernels_own():
    assert refused(**{"mptcp.endpoints": {"3g": ["backup"]}}).startswith("mptcp.endpoints: they")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"do": "close", "path": "wifi"}, "either at which time (at) or upon what (when)"),
        ({"at": "1 s", "when": "closed", "do": "close", "path": "wifi"}, "either at which time"),
        ({"at": "1 s", "of": "wifi", "do": "close", "path": "wifi"}, '"of" goes with "when"'),
        ({"when": "priority", "do": "close", "path": "wifi"}, 'say with "of" the path'),
        ({"at": "1 s", "after": "1 s", "do": "close", "path": "wifi"}, '"after" goes with "when"'),
        ({"at": "1 s", "do": "close", "path": "wifi", "port": 80}, "goes with add_subflow"),
        ({"at": "1 s", "do": "remove", "path": "wifi", "to": "proxy"}, '"to" goes with'),
        ({"at": "1 s", "do": "close", "path": "wifi", "backup": True}, "go"),
        ({"at": "1 s", "do": "shut", "path": "wifi"}, "do"),
    ],
)
def test_steps_that_contradict_themselves(step, said):
    assert said in refused(step, error=SpecError)


def test_a_script_wants_somebody_who_follows_it():
    step = {"at": "1 s", "do": "close", "path": "wifi"}
    said = refused(step, error=SpecError, **{"mptcp.path_manager": "kernel"})
    assert "a script is followed by the path manager userspace only" in said


def test_a_step_that_was_refused_makes_a_run_suspect():
    line = {"t_s": 2.0, "do": "close", "path": "wifi", "token": 7, "error": "no such subflow"}
    frames = Frames.__new__(Frames)
    object.__setattr__(frames, "script_log", [{"t_s": 1.0, "event": "created"}, line])
    (reason,) = check_path_manager(frames)
    assert reason.level == "suspect"
    assert reason.message == "the path manager could not close wifi at 2.000 s: no such subflow"
