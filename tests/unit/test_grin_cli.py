# SPDX-License-Identifier: Apache-2.0
"""What `testbed grin` makes of its options, and what it refuses before anything is built."""

import json

import click
import pytest
import yaml

from testbed.cli.grin import DEFAULT_SPEC
from testbed.cli.lists import COUNTS, FRACTIONS
from testbed.cli.main import main
from testbed.plan import plan_experiment
from testbed.spec.load import load_experiment


def dry(*arguments, capsys):
    with pytest.raises(SystemExit) as done:
        main(["grin", "--dry-run", "--json", *arguments])
    said = capsys.readouterr()
    return done.value.code, said.out, said.err


def runs(*arguments, capsys):
    code, out, err = dry(*arguments, capsys=capsys)
    assert code in (0, None), err
    return json.loads(out)["runs"]


def test_defaults(capsys):
    found = runs(capsys=capsys)
    assert len(found) == 2 * 5 * 5
    first = found[0]
    assert first["topology"]["datacenter"]["nic_bps"] == 100_000_000
    assert first["topology"]["datacenter"]["subflows"] == 8


def test_every_option_has_its_place(capsys):
    found = runs(
        *("--k", "8", "--spare-ports", "3", "--active", "25%", "--cc", "reno", "--subflows", "16"),
        *("--rate", "20 Mbit/s", "--one-way-delay", "50 us", "--queue-packets", "50"),
        *("--duration", "2s", "--seeds", "1", "--seed", "7", "--mode", "tcp"),
        capsys=capsys,
    )
    assert len(found) == 1
    run = found[0]
    about = run["topology"]["datacenter"]
    assert (len(about["hosts"]), about["spare_ports"], about["subflows"]) == (128, 3, 16)
    way = run["topology"]["links"][0]["a_to_b"]
    asked = (way["rate_bps"], way["one_way_delay_s"], way["queue_bytes"])
    assert asked == (20_000_000, 50e-6, 75_000)
    assert run["workload"]["active_fraction"] == 0.25
    assert (run["mptcp"]["congestion_control"], run["transport"]) == ("reno", "tcp")
    assert (run["duration_s"], run["seed"]) == (2.0, 7)


@pytest.mark.parametrize("topology", ["dual_homed_fat_tree", "vl2", "leaf_spine"])
def test_other_topologies(topology, capsys):
    spare = "0" if topology == "dual_homed_fat_tree" else "0,1,2,3"
    found = runs("--topology", topology, "--spare-ports", spare, "--seeds", "1", capsys=capsys)
    assert len(found) == 5 * len(spare.split(","))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--k", "5"], "k is 5; the ports of a fat tree's switch are an even number"),
        (["--spare-ports", "2"], "spare_ports is 2, but a rack has 2 servers"),
        (["--active", "0"], "is not a fraction of the servers above 0 and up to 1"),
        (["--active", "101%"], "is not a fraction of the servers above 0 and up to 1"),
        (["--subflows", "66"], "the kernel allows 65 per connection"),
        (["--rate", "fast"], '"fast" is not a quantity'),
        (["--topology", "leaf_spine", "--k", "4"], "leaf_spine has no such size"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, said, capsys):
    code, out, err = dry(*arguments, capsys=capsys)
    assert code == 2 and out == ""
    assert said in err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (COUNTS, "0,1,2", [0, 1, 2]),
        (COUNTS, "1..4, 8", [1, 2, 3, 4, 8]),
        (COUNTS, "2,1..3", [2, 1, 3]),
        (FRACTIONS, "0.5", [0.5]),
        (FRACTIONS, "12.5%, 1", [0.125, 1.0]),
        (FRACTIONS, "10%..100%", [n / 10 for n in range(1, 11)]),
    ],
)
def test_lists_of_numbers(kind, text, expected):
    assert kind.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (COUNTS, ""),
        (COUNTS, "1..x"),
        (COUNTS, "8..1"),
        (COUNTS, "-1"),
        (FRACTIONS, "half"),
        (FRACTIONS, "0%"),
        (FRACTIONS, "50%..10%"),
        (FRACTIONS, "1..2"),
    ],
)
def test_wrong_lists_are_refused(kind, text):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_help_names_the_example(capsys):
    with pytest.raises(SystemExit):
        main(["grin", "--help"])
    assert "testbed grin --k 4" in capsys.readouterr().out


def test_the_fluid_engine_says_the_same_names(tmp_path, capsys):
    arguments = ["--engine", "fluid", "--k", "4", "--active", "50%,100%", "--seeds", "2"]
    with pytest.raises(SystemExit) as done:
        main(["grin", *arguments, "--json", "--out", str(tmp_path)])
    said = json.loads(capsys.readouterr().out)
    assert not done.value.code
    assert len(said["runs"]) == 2 * 2 * 2
    for run in said["runs"]:
        assert run["engine"] == "fluid" and 0 < run["goodput_nic"] <= run["oracle_nic"]
    assert list(tmp_path.glob("grin-fluid/*/active-lia-8.png"))


@pytest.mark.parametrize("option", [["--rate", "1 Gbit/s"], ["--set", "workload.stagger='1 s'"]])
def test_the_fluid_engine_has_no_packets(option, capsys):
    code, _, err = dry("--engine", "fluid", *option, capsys=capsys)
    assert code == 2 and "has no packets" in err


def write_runs(folder, goodput_nic):
    """Write results of `testbed grin` as if each run had had this goodput."""
    given = {"matrix": {"topology.parameters.spare_ports": [0, 1]}, "repetitions": 1}
    experiment = load_experiment(DEFAULT_SPEC, {**given, "tcp.congestion_control": "lia"})
    entries = []
    for run in plan_experiment(experiment):
        place = folder / "runs" / run.plan["run_id"]
        place.mkdir(parents=True)
        (place / "run.json").write_text(json.dumps(run.plan))
        found = {"goodput_nic": goodput_nic, "oracle_nic": 1.0, "verdict": "valid"}
        manifest = {"status": "complete", "summary": found}
        (place / "manifest.json").write_text(json.dumps(manifest))
        entries.append({"dir": f"runs/{run.plan['run_id']}"})
    (folder / "plan.json").write_text(json.dumps({"runs": entries}))
    (folder / "spec.yaml").write_text(yaml.safe_dump(experiment.data))
    return folder


def test_runs_are_drawn_on_the_model_and_their_difference_is_said(tmp_path, capsys):
    folder = write_runs(tmp_path / "runs", goodput_nic=0.8)
    arguments = ["--engine", "fluid", "--emulated", str(folder), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as done:
        main(["grin", *arguments, "--json"])
    assert not done.value.code
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["spare_ports"] for cell in cells] == [0, 1]
    for cell in cells:
        assert (cell["emulated_nic"], cell["emulated_runs"], cell["fluid_runs"]) == (0.8, 1, 8)
        difference = 100 * (cell["fluid_nic"] - 0.8)
        assert cell["difference_points"] == pytest.approx(difference) and 5 < difference < 30
    assert list((tmp_path / "out").glob("grin-fluid/*/active-lia-8.png"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "fluid", "--k", "8"], "--k: the runs of --emulated say that already"),
        (["--engine", "fluid"], "is not a folder of results; it has no plan.json"),
        ([], "add --engine fluid"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(arguments, said, tmp_path, capsys):
    code, out, err = dry("--emulated", str(tmp_path), *arguments, capsys=capsys)
    assert code == 2 and out == ""
    assert said in err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "duration_s"),
    [([], 8), (["--k", "8"], 60), (["--k", "8", "--rate", "1 Gbit/s"], 8)],
)
def test_slow_links_are_given_time(arguments, duration_s, capsys):
    found = runs("--seeds", "1", "--active", "25%", *arguments, capsys=capsys)
    assert {run["duration_s"] for run in found} == {duration_s}


def test_large_networks_get_memory(capsys):
    small, large = (runs("--k", k, "--seeds", "1", capsys=capsys)[0] for k in ("4", "8"))
    assert (small["memory_factor"], large["memory_factor"]) == (1, 4)
