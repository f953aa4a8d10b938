# SPDX-License-Identifier: Apache-2.0
"""Servers with spare ports, on the live network: every subflow, every link, the same twice."""

import json
import subprocess
from pathlib import Path

import pytest

from testbed.lab.kernel import PROJECT_ROOT
from tests.lab.conftest import TESTBED

EXPERIMENT = PROJECT_ROOT / "experiments" / "grin.yaml"


@pytest.fixture
def grin(kernel, tmp_path):
    """Run `testbed grin` and return what --json says."""

    def run(*arguments, name="results"):
        argv = [TESTBED, "grin", "--json", "--out", tmp_path / name, "--rate", "10 Mbit/s"]
        argv += ["--duration", "4s", "--seeds", "1", "--jobs", "1", *arguments]
        done = subprocess.run(argv, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
        assert done.returncode in (0, 1), done.stderr.decode()
        return json.loads(done.stdout)["runs"]

    return run


def raw(run, name):
    return json.loads((Path(run["run_dir"]) / "raw" / name).read_text())


@pytest.mark.parametrize(
    ("arguments", "subflows"),
    [
        (["--spare-ports", "1"], 8),
        (["--topology", "leaf_spine", "--spare-ports", "2"], 9),
        (["--topology", "vl2", "--spare-ports", "3"], 16),
        (["--topology", "dual_homed_fat_tree", "--spare-ports", "1", "--subflows", "1"], 9),
    ],
)
def test_every_pair_of_ports_has_its_subflows(grin, arguments, subflows):
    (run,) = grin("--active", "100%", *arguments)
    assert run["verdict"] == "valid", run["verdict_reasons"]
    flows = raw(run, "bulk.json")["flows"]
    assert {flow["subflows"] for flow in flows} == {subflows}
    # What had arrived when the warm-up ended is part of what arrived.
    assert all(0 < flow["bytes_at_marks"][0] < flow["bytes"] for flow in flows)


def test_spare_ports_carry_data_and_idle_neighbours_gain_nothing(grin):
    """With two senders of sixteen, each has more than its own port could give."""
    plain, spare = sorted(
        grin("--active", "12.5%", "--spare-ports", "0,1", "--duration", "10s"),
        key=lambda run: run["spare_ports"],
    )
    assert [plain["verdict"], spare["verdict"]] == ["valid", "valid"]
    assert plain["goodput_nic"] < 0.96 < 1.2 < spare["goodput_nic"] < 1.92
    links = raw(spare, "links.end.json")
    topology = json.loads((Path(spare["run_dir"]) / "run.json").read_text())["topology"]
    names = {name for h in topology["datacenter"]["hosts"].values() for name in h["spare_links"]}
    assert sum(links[n][way]["delivered_bytes"] for n in names for way in links[n]) > 5_000_000


def test_tcp_is_one_connection_per_pair(grin):
    (run,) = grin("--active", "50%", "--spare-ports", "0", "--mode", "tcp")
    assert run["verdict"] == "valid", run["verdict_reasons"]
    assert {flow["subflows"] for flow in raw(run, "bulk.json")["flows"]} == {0}


def test_the_same_seed_gives_the_same_bytes(grin):
    one, other = (grin("--active", "50%", "--spare-ports", "1", name=n)[0] for n in ("a", "b"))
    flows = [[flow["bytes"] for flow in raw(run, "bulk.json")["flows"]] for run in (one, other)]
    assert flows[0] == flows[1]
    assert raw(one, "links.end.json") == raw(other, "links.end.json")


def test_no_switch_leaves_the_core_idle(grin):
    """Switches that hashed alike would use half of it."""
    (run,) = grin("--active", "100%", "--spare-ports", "0", "--subflows", "8")
    assert run["core_idle_fraction"] == 0.0


def backlogs(run, from_s):
    """Return the length of every queue at each sample, bytes."""
    lines = (Path(run["run_dir"]) / "raw" / "links.jsonl").read_text().splitlines()
    samples = [one for one in map(json.loads, lines) if one["t_ns"] >= from_s * 1e9]
    return [way["backlog"] for one in samples for link in one["links"].values()
            for way in link.values()]  # fmt: skip


def test_dctcp_keeps_queues_short_by_the_marks_of_switches(grin):
    """Reno fills the queues of 100 packets; DCTCP reacts to what 20 of them make the links say."""
    arguments = ("--active", "50%", "--spare-ports", "0", "--mode", "tcp", "--cc", "dctcp,reno")
    found = {run["cc"]: run for run in grin(*arguments)}
    assert [run["verdict"] for run in found.values()] == ["valid", "valid"]
    assert (found["dctcp"]["dropped_packets"], found["reno"]["marked_packets"]) == (0, 0)
    assert found["dctcp"]["marked_packets"] > 500
    # Not at the start, which is slow start and goes beyond by what is on the way.
    longest = {cc: max(backlogs(run, 1.0)) for cc, run in found.items()}
    assert 20 * 1500 < longest["dctcp"] < 60 * 1500 < longest["reno"]
    assert found["dctcp"]["goodput_nic"] > 0.95 * found["reno"]["goodput_nic"]


@pytest.mark.parametrize(
    ("workload", "count", "size"),
    [
        ("{name: incast, senders: 6, size: 100 KB}", 6, 100_000),
        ("{name: all_to_all, servers: 4}", 12, None),
        ("{name: shuffle, mappers: 3, reducers: 2, size: 200 KB}", 6, 200_000),
    ],
)
def test_patterns_of_traffic(kernel, tmp_path, workload, count, size):
    network = "{name: fat_tree, parameters: {k: 4, rate: 10 Mbit/s, subflows: 2, spare_ports: 1}}"
    argv = [TESTBED, "run", EXPERIMENT, "--json", "--out", tmp_path, "--seeds", "1"]
    for said in ("matrix={}", f"workload={workload}", f"topology={network}"):
        argv += ["--set", said]
    done = subprocess.run(argv, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (done.stdout, done.stderr)
    (run,) = json.loads(done.stdout)["runs"]
    assert run["verdict"] == "valid", run["verdict_reasons"]
    planned = json.loads((Path(run["run_dir"]) / "run.json").read_text())["workload"]["flows"]
    flows = raw(run, "bulk.json")["flows"]
    assert [flow["id"] for flow in flows] == [flow["id"] for flow in planned] == list(range(count))
    assert all(flow["transport"] == "mptcp" and not flow["has_fallen_back"] for flow in flows)
    if size is None:
        assert all(flow["subflows"] == 4 and flow["bytes"] > 0 for flow in flows)
    else:
        assert [flow["bytes"] for flow in flows] == [size] * count
