# SPDX-License-Identifier: Apache-2.0
"""The scenes that judge congestion control: links, flows, options, and what is refused."""

import json

import pytest

from testbed.cli.main import main
from testbed.errors import PlanError
from testbed.plan import plan_run
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: fairness
question: Is it fair?
topology: judging
duration: 150 s
workload: {name: fairness}
"""


def plan(seed=1, **said):
    values = {key.replace("__", "."): value for key, value in said.items()}
    return plan_run(parse_spec(SPEC, "f.yaml", values), seed)


def way(made, name):
    link = next(link for link in made["topology"]["links"] if link["name"] == name)
    up = link["a_to_b"]
    rtt_s = up["one_way_delay_s"] + link["b_to_a"]["one_way_delay_s"]
    return up["rate_bps"], round(rtt_s, 6), up["loss_fraction"], up["queue_bytes"]


def who(made):
    return [(f["client"], f["transport"], f["port"]) for f in made["workload"]["flows"]]


MULTI, RIVAL1, RIVAL2 = ("client", "mptcp", 5001), ("rival1", "tcp", 5002), ("rival2", "tcp", 5002)


def test_one_bottleneck_for_all():
    made = plan()
    assert way(made, "shared") == (20_000_000, 0.04, 0.0, 100_000)
    assert way(made, "first")[0] is way(made, "second")[0] is None
    assert who(made) == [MULTI, RIVAL2]
    assert {path["name"]: "shared" in dict(path["hops"]) for path in made["topology"]["paths"]} == {
        "first": True, "second": True}  # fmt: skip


def test_two_lossy_paths_and_tcp_on_each():
    made = plan(mode="loss-rtt")
    assert way(made, "first")[:3] == (200_000_000, 0.01, 0.04)
    assert way(made, "second")[:3] == (200_000_000, 0.1, 0.01)
    assert way(made, "shared")[0] is None
    assert who(made) == [MULTI, RIVAL1, RIVAL2]
    seeds = {link["a_to_b"].get("loss_seed") for link in made["topology"]["links"]}
    assert len(seeds - {None}) == 2


def test_a_path_that_others_need_more():
    made = plan(mode="two-bottlenecks")
    assert way(made, "first") == (10_000_000, 0.08, 0.0, 100_000)
    assert way(made, "second") == (5_000_000, 0.08, 0.0, 50_000)
    assert who(made) == [MULTI] * 5 + [RIVAL2] * 5


def test_flows_start_apart_and_end_after_what_is_measured():
    flows = plan()["workload"]["flows"]
    assert plan()["workload"]["marks_s"] == [15, 75]
    assert {round(f["start_s"] + f["duration_s"], 6) for f in flows} == {75.5}
    assert len({f["start_s"] for f in flows}) == len(flows)
    assert plan(seed=2)["workload"]["flows"] != flows == plan()["workload"]["flows"]


def test_tcp_keeps_its_own_congestion_control():
    made = plan(tcp__congestion_control="olia", workload__rival="cubic")
    assert made["mptcp"]["congestion_control"] == "olia"
    assert [flow["congestion_control"] for flow in made["workload"]["flows"]] == [None, "cubic"]
    assert made["sysctls"]["*"]["net.ipv4.tcp_slow_start_after_idle"] == 0


def test_what_the_experiment_says_of_a_link_goes_before_the_scene():
    made = plan(links={"shared": {"one_way_delay": "5 ms", "up": {"queue": "30 KB"}}})
    assert way(made, "shared") == (20_000_000, 0.01, 0.0, 30_000)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"mode": "bottlenecks"}, 'not a scene of the workload "fairness" .did you mean "bottlen'),
        ({"topology": "underground"}, 'needs a link "shared", which the topology "underground"'),
        ({"workload": {"name": "fairness", "measured": "140 s"}}, "must follow one another"),
        ({"workload": {"name": "fairness", "stagger": "20 s"}}, "the last start at 20 s"),
    ],
)
def test_what_cannot_be_is_refused(said, words):
    with pytest.raises(PlanError, match=words):
        plan(**said)


def dry(*arguments, capsys):
    with pytest.raises(SystemExit) as done:
        main(["fairness", "--dry-run", "--json", *arguments])
    said = capsys.readouterr()
    return done.value.code, said.out, said.err


def test_the_command_runs_every_scene_with_every_control(capsys):
    code, out, err = dry(capsys=capsys)
    assert code in (0, None), err
    assert len(json.loads(out)["runs"]) == 3 * 5 * 5


def test_options_of_the_command_have_their_places(capsys):
    code, out, err = dry("--scene", "loss-rtt", "--cc", "lia,olia", "--rival", "cubic", "--seeds",
                         "1", "--warm-up", "2s", "--measured", "3s", capsys=capsys)  # fmt: skip
    assert code in (0, None), err
    runs = json.loads(out)["runs"]
    assert [run["mptcp"]["congestion_control"] for run in runs] == ["lia", "olia"]
    assert runs[0]["workload"]["marks_s"] == [2.0, 5.0]
    assert runs[0]["workload"]["rival"] == "cubic"


def test_no_time_is_refused(capsys):
    code, _, err = dry("--measured", "0s", capsys=capsys)
    assert (code, err) == (2, "testbed: --measured: 0 s shows nothing; give it some seconds\n")
