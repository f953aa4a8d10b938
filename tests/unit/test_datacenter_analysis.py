# SPDX-License-Identifier: Apache-2.0
"""Runs between servers: numbers from invented counters, faults that are found, figures."""

import json

import pandas as pd
import pytest

from analysis.datacenter import flow_table, lenders, link_layers, link_use, oracle_rates, summary
from analysis.datacenter_checks import (
    check_controls,
    check_fallen_back,
    check_flows,
    check_subflows,
)
from analysis.load import load_run
from analysis.optimum import optimum_rates
from analysis.overview import write_overview
from analysis.report import write_report
from analysis.runs import read_results
from testbed.fluid.emulated import case_of_run
from testbed.fluid.solve import solve
from testbed.plan import plan_run
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: grin
question: Does it add up?
topology: {name: fat_tree, parameters: {k: 4, rate: 10 Mbit/s, spare_ports: 1}}
duration: 4 s
workload: {name: permutation, active: 0.5}
"""
WARM_UP_BYTES, END_BYTES = 1_000_000, 4_000_000  # 8 Mbit/s in 3 s


def planned(seed=1, **values):
    overrides = {key.replace("__", "."): value for key, value in values.items()}
    plan = plan_run(parse_spec(SPEC, "grin.yaml", overrides), seed)
    return {**plan, "run_id": "cell/rep01", "varied": {}}


def result(flow, **changes):
    return {
        "id": flow["id"],
        "bytes": END_BYTES,
        "bytes_at_marks": [WARM_UP_BYTES],
        "goodput_mbps": 8.0,
        "transport": flow["transport"],
        "has_fallen_back": False,
        "subflows": flow["subflows"],
        "has_ended": True,
        "error": None,
        **changes,
    }


def counters(busy_s):
    one = {"delivered_bytes": round(busy_s * 1.25e6), "busy_ns": round(busy_s * 1e9)}
    return {**one, "opportunities": 0, "backlog": 0, "dropped_full": 2 * round(busy_s)}


def write_run(folder, plan, **changes):
    """Write a run in which every link is busy for half of the time."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    links = [link["name"] for link in plan["topology"]["links"]]

    def states(busy_s):
        ways = {"a_to_b": counters(busy_s), "b_to_a": counters(0)}
        return dict.fromkeys(links, ways)

    samples = [{"t_ns": t * 10**9, "links": states(t / 2)} for t in range(5)]
    (raw / "links.jsonl").write_text("\n".join(map(json.dumps, samples)))
    (raw / "links.start.json").write_text(json.dumps(states(0)))
    (raw / "links.end.json").write_text(json.dumps(states(2)))
    (raw / "paths.rtt.json").write_text("{}")
    nstat = "MPTcpExt: MPCapableSYNTX MPCapableFallbackACK\nMPTcpExt: {} 0\n"
    for when, value in (("start", 0), ("end", 1)):
        (raw / f"h0.nstat.{when}.txt").write_text(nstat.format(value))
    flows = [result(flow, **changes) for flow in plan["workload"]["flows"]]
    manifest = {
        "status": "complete",
        "seed": plan["seed"],
        "backend": "lab",
        "virtual_s": 4.0,
        "wall_s": 2.0,
        "kernel": {"release": "7.3.4"},
        "workload": {"exit_status": 0, "flows": flows, "started_s": 0.0, "ended_s": 4.0},
    }
    (folder / "run.json").write_text(json.dumps(plan))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def frames(tmp_path):
    return lambda plan=None, **changes: load_run(
        write_run(tmp_path / "run", plan or planned(), **changes)
    )


def test_goodput_begins_after_the_warm_up(frames):
    flows = flow_table(frames())
    assert len(flows) == 8
    assert flows["goodput_mbps"].to_numpy() == pytest.approx(8.0)
    assert flows["goodput_nic"].to_numpy() == pytest.approx(0.8)


def test_flows_of_a_size_count_from_beginning_to_end(frames):
    flows = flow_table(frames(planned(workload__size="4 MB"), goodput_mbps=5.0, bytes_at_marks=[]))
    assert flows["goodput_mbps"].to_numpy() == pytest.approx(5.0)


def test_links_are_busy_for_what_their_counters_say(frames):
    read = frames()
    use = link_use(read)
    assert use.loc[use["direction"] == "a_to_b", "busy_fraction"].to_numpy() == pytest.approx(0.5)
    assert (use.loc[use["direction"] == "b_to_a", "busy_fraction"] == 0).all()
    layers = pd.Series(link_layers(read.run)).value_counts()
    assert dict(layers) == {"access": 16, "fabric": 16, "core": 16, "spare": 8}
    found = summary(read, flow_table(read), use)
    assert (found["core_busy_fraction"], found["core_idle_fraction"]) == (0.25, 0.5)
    assert found["goodput_nic"] == pytest.approx(0.8)
    assert (found["spare_ports"], found["active_fraction"], found["cc"]) == (1, 0.5, "cubic")


def with_pairs(*pairs, transport="mptcp", **values):
    plan = planned(**values)
    flow = plan["workload"]["flows"][0]
    plan["workload"]["flows"] = [
        {**flow, "id": number, "client": a, "server": b, "transport": transport}
        for number, (a, b) in enumerate(pairs)
    ]
    return plan


@pytest.mark.parametrize(
    ("pairs", "rates", "lending"),
    [
        ([("h0", "h4")], [2.0], {"h1"}),
        ([("h0", "h4"), ("h1", "h6")], [1.0, 1.0], {"h0", "h1"}),
        ([("h0", "h4"), ("h2", "h5")], [1.0, 1.0], {"h1", "h3"}),
        # The cable between neighbours is nobody's uplink: h0 has it beside its own.
        ([("h0", "h1")], [2.0], set()),
    ],
)
def test_best_rates_of_small_cases(pairs, rates, lending):
    plan = with_pairs(*pairs)
    assert oracle_rates(plan) == pytest.approx(rates)
    assert lenders(plan) == lending


def test_tcp_has_one_port():
    plan = with_pairs(("h0", "h4"), transport="tcp")
    assert oracle_rates(plan) == [1.0] and lenders(plan) == set()
    assert optimum_rates(plan) == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("pairs", "rates"),
    [
        ([("h0", "h4")], [2.0]),
        # What h0 sends by way of h1 and what h1 receives by way of h0 share the cable to h1.
        ([("h0", "h4"), ("h6", "h1")], [1.5, 1.5]),
        ([("h0", "h4"), ("h6", "h0")], [2.0, 2.0]),
        # Neighbours have their switch and their cable, which carries either way as much.
        ([("h0", "h1")], [2.0]),
        ([("h0", "h1"), ("h1", "h0")], [2.0, 2.0]),
    ],
)
def test_the_optimum_counts_cables(pairs, rates):
    assert optimum_rates(with_pairs(*pairs)) == pytest.approx(rates)


def test_common_neighbours_forward_from_cable_to_cable():
    """Of four servers that are all connected, one reaches another over its switch and by three
    ways of cables alone."""
    network = {"name": "leaf_spine", "parameters": {"spare_ports": 3}}
    plan = with_pairs(("h0", "h1"), topology=network)
    assert optimum_rates(plan) == pytest.approx([4.0])


def test_the_optimum_is_at_most_the_oracle_and_that_of_the_flow_level_model():
    plan = planned(seed=3)
    optimum, oracle = optimum_rates(plan), oracle_rates(plan)
    assert sum(optimum) <= sum(oracle) + 1e-6
    case = case_of_run(plan, "fat_tree", {"k": 4})
    model = solve(case)
    number = {name: at for at, name in enumerate(plan["topology"]["datacenter"]["hosts"])}
    order = [number[flow["client"]] for flow in plan["workload"]["flows"]]
    best = dict(zip(model.source.tolist(), model.optimum.tolist(), strict=True))
    assert optimum == pytest.approx([best[sender] for sender in order], abs=1e-5)


def test_the_only_fault_of_the_invention_is_found(tmp_path):
    """It has no samples of sockets, so that their congestion control is unknown."""
    report = write_report(write_run(tmp_path / "run", planned()))
    assert report.verdict.status == "invalid"
    assert [reason.check for reason in report.verdict.reasons] == ["congestion_control"]
    assert (report.directory / "throughput.png").exists()


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"error": "was cut off: connection reset"}, check_flows, "flow 0 was cut off"),
        ({"has_ended": False}, check_flows, "flow 0 had not ended when the run was over"),
        ({"bytes": 0}, check_flows, "flow 0 carried no data"),
        ({"has_fallen_back": True}, check_fallen_back, "flows 0, 1, 2, 3, 4 and 3 more fell back"),
        ({"subflows": 3}, check_subflows, "flow 0 had 3 of 4"),
    ],
)
def test_faults_are_found(frames, changes, check, said):
    assert said in check(frames(**changes))[0].message


def test_missing_flows_are_found(frames):
    read = frames()
    read.manifest["workload"]["flows"].pop()
    assert "7 of 8 flows left a result" in check_flows(read)[0].message


def test_another_congestion_control_is_found(frames):
    read = frames()
    row = {"congestion_control": "bbr", "host": "h3"}
    read.sockets = pd.DataFrame([row, {**row, "congestion_control": "cubic"}])
    assert "bbr on h3, asked was cubic" in check_controls(read)[0].message
    read.sockets = read.sockets[read.sockets["congestion_control"] == "cubic"]
    assert check_controls(read) == []


def test_figures_over_all_runs(tmp_path):
    """Every figure has its data: activity, subflows, lenders and the core."""
    entries = []
    cells = [(spare, active, 8) for spare in (0, 1) for active in (0.5, 1.0)] + [(1, 1.0, 1)]
    for spare, active, subflows in cells:
        plan = planned(
            topology__parameters__spare_ports=spare,
            topology__parameters__subflows=subflows,
            workload__active=active,
        )
        varied = {"spare": str(spare), "active": str(active), "subflows": str(subflows)}
        name = f"runs/spare={spare},active={active},subflows={subflows}/rep01"
        plan |= {"varied": varied, "run_id": name}
        write_report(write_run(tmp_path / name, plan))
        verdict = tmp_path / name / "derived" / "verdict.json"
        content = json.loads(verdict.read_text())
        verdict.write_text(json.dumps({**content, "status": "valid", "reasons": []}))
        entries.append({"dir": name, "varied": varied, "seed": 1, "repetition": 1})
    told = {"experiment": "grin", "varies": list(entries[0]["varied"]), "runs": entries}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    page = write_overview(tmp_path).read_text()
    found = {file.stem for file in (tmp_path / "derived").glob("*.png")}
    assert found == {"active", "subflows", "lenders", "core"}
    assert "permutation traffic among 16 servers" in page
    table = read_results(tmp_path).table
    assert set(table["active_fraction"]) == {0.5, 1.0} and set(table["spare_ports"]) == {0, 1}
