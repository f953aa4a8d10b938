# SPDX-License-Identifier: Apache-2.0
"""Behaviours of an interfering middlebox, as plain data, and the command that runs them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.interference_evidence import KINDS
from analysis.interference_words import BEHAVIOURS as WORDS
from testbed.cli.main import testbed as root_command
from testbed.errors import PlanError, SpecError
from testbed.plan import plan_experiment, plan_run
from testbed.plan.interference import BEHAVIOURS
from testbed.spec.load import load_experiment, parse_spec
from testbed.workloads.interference_acts import make_act

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "interference.yaml"
SPEC = """\
schema: 1
name: interference
question: What becomes of it?
topology: interference
duration: 10 s
workload: {name: interference}
"""


def plan(mode, seed=1, **said):
    return plan_run(parse_spec(SPEC, "f.yaml", {"mode": mode, **said}), seed)


def refused(mode, **said):
    with pytest.raises(PlanError) as caught:
        plan(mode, **said)
    return str(caught.value)


def test_the_experiment_has_every_behaviour_and_each_is_explained():
    runs = plan_experiment(load_experiment(EXPERIMENT, {}))
    modes = [run.plan["mode"] for run in runs]
    assert sorted(modes) == sorted(BEHAVIOURS)
    assert list(WORDS) == modes
    assert all(words.why and words.does for words in WORDS.values())


@pytest.mark.parametrize("mode", BEHAVIOURS)
def test_each_behaviour_is_made_and_looked_for(mode):
    workload = plan(mode)["workload"]
    assert workload["evidence"]["kind"] in KINDS
    rules = workload["middleboxes"]["m"]
    assert ("queue num 0" in rules) == (workload["act"] is not None)
    if workload["act"] is not None:
        make_act(workload["act"])
    elif not mode.startswith("control"):
        assert "reset tcp option mptcp" in rules or "snat to 10.0.3.2" in rules


@pytest.mark.parametrize(
    ("mode", "first", "paths"),
    [
        ("strip-join-syn", "10.0.2.2", ["direct", "middlebox"]),
        ("strip-capable-syn", "10.0.1.2", ["middlebox", "direct"]),
        ("strip-dss-only", "10.0.1.2", ["middlebox"]),
    ],
)
def test_on_which_path_a_connection_begins(mode, first, paths):
    made = plan(mode)
    assert made["workload"]["receiver"]["source"] == [first]
    assert made["paths_at_start"] == paths
    assert sorted(one["path"] for one in made["endpoints"]) == sorted(paths)


def test_who_sends():
    down, up = plan("strip-dss-from-start")["workload"], plan("strip-dss-from-start-upload")
    up = up["workload"]
    assert (down["server"]["node"], down["receiver"]["node"]) == ("server", "client")
    assert (up["server"]["node"], up["receiver"]["node"]) == ("client", "server")
    assert (up["server"]["is_listening"], up["receiver"]["is_listening"]) == (False, True)


def test_what_only_some_behaviours_need():
    checksum = "net.mptcp.checksum_enabled"
    assert plan("payload-checksum-only")["sysctls"]["*"][checksum] == 1
    assert plan("payload")["sysctls"]["*"][checksum] == 0
    (endpoint,) = plan("drop-add-addr")["workload"]["announced"]["server"]
    assert (endpoint["address"], endpoint["flags"]) == ("10.0.4.1", ["signal"])
    assert plan("nat")["workload"]["announced"] == {}
    acts = {seed: plan("rewrite-seq", seed)["workload"]["act"]["seed"] for seed in (1, 2)}
    assert acts == {1: 1, 2: 2}


def test_what_cannot_be_planned():
    assert refused("strip-dss") == (
        'mode: "strip-dss" is not a behaviour of a middlebox (did you mean "strip-dss-only"?)'
    )
    assert refused("nat", topology="middlebox") == (
        'the workload "interference" needs a path "middlebox", which the topology "middlebox" '
        'does not have; use "interference"'
    )
    assert refused("strip-dss-only", **{"workload.after": "1 MB"}) == (
        "workload: strip-dss-only begins after 1000000 bytes, but only 1000000 are downloaded; "
        "lower `after` or raise `size`"
    )
    assert plan("nat", **{"workload.after": "1 MB"})


def dry(*arguments):
    return CliRunner().invoke(root_command, ["middlebox", *arguments, "--dry-run", "--json"])


def test_the_command_runs_another_experiment_for_this_scene():
    done = dry("--scene", "interference", "--behaviour", "nat,split", "--seeds", "2")
    runs = json.loads(done.output)["runs"]
    assert [(run["experiment"], run["mode"], run["seed"]) for run in runs] == [
        ("interference", mode, seed) for mode in ("nat", "split") for seed in (1, 2)
    ]
    assert len(json.loads(dry("--scene", "interference").output)["runs"]) == len(BEHAVIOURS)
    assert json.loads(dry().output)["runs"][0]["experiment"] == "middlebox"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--scene", "interference,chain"],
            "--scene: interference has runs of its own; call it without chain",
        ),
        (
            ["--scene", "interference", "--old", "close"],
            "--old: interference replaces no subflow; leave it out",
        ),
        (
            ["--behaviour", "nat"],
            "--behaviour: it is for --scene interference; add that",
        ),
    ],
)
def test_what_the_command_refuses(arguments, message):
    done = dry(*arguments)
    assert isinstance(done.exception, SpecError)
    assert str(done.exception) == message
