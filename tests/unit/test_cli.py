# SPDX-License-Identifier: Apache-2.0
"""The command line: what it refuses, how it exits, and that it helps."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from testbed import __version__
from testbed.backends import BACKEND_KINDS
from testbed.backends.base import Backend, Cancelled
from testbed.cli.main import COMMANDS, main
from testbed.cli.main import testbed as root_command
from testbed.cli.plan_text import _event_text as event_text
from testbed.cli.run_progress import count_text, speed_text
from testbed.errors import BackendError, PlanError, PrerequisiteError, RunInvalid, SpecError
from testbed.rundir import write_json

SMALL = ("--size", "1KB", "--duration", "30s")
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
VALID = (Path(__file__).parents[1] / "data" / "specs" / "valid.yaml").read_text()


class Result:
    """How a call of `testbed` ended and what it said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def sentence(self):
        """What was said on standard error, which must be one line and no traceback."""
        (line,) = self.err.splitlines()
        return line


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call `testbed` as the shell does, in a folder of its own and without a kernel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        return Result(left.value.code, *capsys.readouterr())

    return call


def commands(group, path=()):
    """Yield the names and the object of every command below a group, and the group itself."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from commands(group.get_command(context, name), (*path, name))


ALL = dict(commands(root_command))


def test_commands_are_those_of_the_registry():
    for name, place in COMMANDS.items():
        module, attribute = place.split(":")
        assert ALL[(name,)] is getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help(path, call):
    """-h and --help say what the command does; every option and argument is explained."""
    result = call(*path, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out == call(*path, "-h").out
    assert ALL[path].help
    for parameter in ALL[path].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[-1] in result.out
        else:
            assert parameter.name.upper() in ALL[path].help


EXAMPLES = ["offload", "run", "resume", "validate", "schema", "report", "lab exec", "lab shell"]


@pytest.mark.parametrize("path", [tuple(name.split()) for name in EXAMPLES], ids=" ".join)
def test_help_has_an_example(path, call):
    assert f"Example: testbed {' '.join(path)}" in call(*path, "--help").out


def test_version(call):
    assert __version__ in call("--version").out


def test_no_command_is_a_question(call):
    result = call()
    assert result.code == 2
    assert "Commands:" in result.out + result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], 'there is no command "nosuch"; there are analyze, '),
        (["ofload"], 'there is no command "ofload" (did you mean "offload"?)'),
        (["offload", "--nosuch"], "No such option"),
        (["offload", "--backend", "moon"], 'no backend "moon"'),
        (["offload", "--backend", "ssh:-oX@h"], "no machine; write ssh:USER@HOST"),
        (["compare-backends", "x.yaml", "--backends", "lab"], "is not two backends, such as lab"),
        (["compare-backends", "x.yaml", "--backends", "lab,moon"], 'no backend "moon"'),
        (["offload", "--seed", "-1"], "-1 is not in the range"),
        (["offload", "--seed", "18446744073709551616"], "is not in the range"),
        (["lab", "exec"], "Missing argument 'COMMAND...'"),
        (["lab", "exec", "--memory", "10", "true"], '"10" is not a quantity'),
        (["lab", "exec", "--share", "nosuch", "true"], "Directory 'nosuch' does not exist"),
        (["report", "nosuch"], "Directory 'nosuch' does not exist"),
        (["resume", "nosuch"], "Directory 'nosuch' does not exist"),
        (["run"], "Missing argument 'FILE'"),
        (["run", "nosuch.yaml"], "nosuch.yaml: the experiment cannot be read: no such file"),
        (["validate"], "Missing argument 'FILES...'"),
        (["offload", "--jobs", "0"], "0 is not in the range"),
        (["offload", "--seeds", "0"], "0 is not in the range"),
        (["offload", "--mode", "a,,b"], '"a,,b" has an empty part'),
        (["offload", "--set", "seed"], '--set: "seed" is not KEY=VALUE, such as duration="30 s"'),
        (["offload", "--set", "=3"], '--set: "=3" is not KEY=VALUE'),
        (["offload", "--set", "seed=[1"], '--set: the value of "seed" is not YAML; put quotes'),
        (["offload", "--set", "seed=010"], '"seed": 010 is another number to YAML; write a deci'),
        (["offload", "--set", "seed=2026-13-01"], '--set: the value of "seed" is not YAML'),
        (["kernel", "build", "--jobs", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage(call, arguments, said):
    result = call(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("option", "value", "example"),
    [
        ("--size", "10", "80 KB"),
        ("--size", "10 Mbit", "80 KB"),
        ("--size", "-10MB", "80 KB"),
        ("--duration", "60", "75 ms"),
        ("--duration", "soon", "75 ms"),
    ],
)
def test_quantity_without_its_unit(call, option, value, example):
    result = call("offload", option, value, "--dry-run")
    assert result.code == 2
    assert f'"{value}" is not a quantity with one of the units' in result.err
    assert f'write it as "{example}"' in result.err


def test_ride_of_no_time(call):
    result = call("offload", "--duration", "0s", "--dry-run")
    assert result.code == 2
    assert result.sentence == (
        "testbed: --duration: a ride of 0 s shows nothing; give it some seconds"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, ": the trace cannot be read: no such file or directory"),
        ("", ": the trace is empty; give it one time in ms per line"),
        ("1\n2\nx\n", ':3: "x" is not a time in ms'),
        ("5\n4\n", ":2: the time 4 ms comes after 5 ms; a trace must not go back in time"),
        ("0\n", ": the trace ends at 0 ms, so it has no length"),
        ("t_s,rate_mbps\n", ": the trace is empty; give it a line per change"),
        ("t_s,rate_mbps\n5,1\n4,1\n", ":3: the time 4 s comes after 5 s; a trace must not go ba"),
        ("t_s,rate_mbps\n0,1\n", ": the trace ends at 0 s, so it has no length"),
    ],
)
@pytest.mark.parametrize("option", ["--trace-3g", "--trace-wifi"])
def test_trace_that_cannot_be_used(call, tmp_path, option, text, reason):
    if text is not None:
        (tmp_path / "bus.down").write_text(text)
    result = call("offload", option, "bus.down", "--dry-run", *SMALL)
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith(f"testbed: {tmp_path}/bus.down{reason}")


def test_trace_that_begins_after_the_ride(call, tmp_path):
    (tmp_path / "late.down").write_text("61000\n")
    result = call("offload", "--trace-3g", "late.down", "--dry-run", *SMALL, "--duration", "60s")
    assert result.code == 2
    assert result.sentence == "testbed: late.down: the link can deliver nothing within 60 s"


def test_trace_that_is_a_folder(call, tmp_path):
    result = call("offload", "--trace-3g", str(tmp_path), "--dry-run", *SMALL)
    assert (result.code, result.sentence) == (
        2,
        f"testbed: {tmp_path}: the trace cannot be read: is a directory",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, ": the ride cannot be read: no such file or directory"),
        ("", ":1: a ride file is a mapping of keys to values"),
        ("dewll: 3 s", ':1: dewll: unknown key (did you mean "dwell"?)'),
        ("stations: 2\ndwell: 3", ":2: dwell: write the quantity with its unit, as a text"),
        ("stops:\n  - [-1 s, 3 s]", ':2: stops.0.0: "-1 s" is not a quantity with one of the uni'),
        ("stops:\n  - [0 s, 3 s]\n  - [2 s, 4 s]", ":3: stops.1 starts at 2 s, before the one "),
        ("stops:\n  - [5 s, 3 s]", ":2: stops.0 ends at 3 s, not after its start 5 s"),
        ("stops: [[0 s, 5 s]]\nfades_at: [[-9 s, 9 s]]", ':2: fades_at.0.0: "-9 s" is not a quan'),
        ("dwell: -3 s", ':1: dwell: "-3 s" is not a quantity'),
        ("- 3", ":1: a ride file is a mapping of keys to values"),
    ],
)
def test_ride_that_cannot_be_used(call, tmp_path, text, reason):
    if text is not None:
        (tmp_path / "ride.yaml").write_text(text)
    result = call("offload", "--ride", "ride.yaml", "--dry-run", *SMALL)
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith(f"testbed: ride.yaml{reason}")


def test_ride_of_a_file(call, tmp_path):
    (tmp_path / "ride.yaml").write_text("stops: [[0 s, 5 s], [9 s, 12 s]]\npromotion: 1 s\n")
    plans = dry_runs(call, "--ride", "ride.yaml", "--duration", "20s")
    assert [plan["ride"]["stations"] for plan in plans] == [[[0, 5], [9, 12]]] * 6


def dry_runs(call, *options):
    result = call("offload", "--dry-run", "--json", "--size", "1KB", *options)
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)["runs"]


ALL_MODES = ["tcp-wifi", "tcp-3g", "tcp-handover", "mptcp-full", "mptcp-backup", "mptcp-single"]


def test_dry_run_prints_the_plans_and_does_nothing(call, tmp_path):
    plans = dry_runs(call, "--duration", "21s", "--seed", "9")
    assert [plan["mode"] for plan in plans] == ALL_MODES
    assert {(plan["seed"], plan["duration_s"]) for plan in plans} == {(9, 21)}
    assert {plan["workload"]["size_bytes"] for plan in plans} == {1000}
    assert [plan["dir"] for plan in plans] == [f"runs/mode={mode}/rep01" for mode in ALL_MODES]
    assert list(tmp_path.iterdir()) == []


def test_dry_run_for_people(call):
    result = call("offload", "--dry-run", *SMALL, "--mode", "tcp-3g,mptcp-backup", "--seeds", "2")
    lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert lines[0].startswith("offload: How much of a download")
    assert lines[1] == "4 runs on the backend lab, each of at most 30 s"
    assert "topology underground: 3 hosts, 3 routers" in lines
    assert "  wifi         laptop <-> ap: 8 Mbit/s, 10 ms, queue 80 KB (80 ms)" in lines
    assert "  3g           laptop <- bs: follows synthetic ride, 75 ms, queue 500 KB" in lines
    assert "workload: download" in lines
    assert any(line.endswith("s  link wifi down") for line in lines)
    assert lines[-2:] == [
        "  mode tcp-3g: tcp; seeds 1 to 2",
        "  mode mptcp-backup: mptcp wifi (subflow), 3g (subflow backup); seeds 1 to 2",
    ]


def test_what_the_lab_kernel_lacks_is_refused_before_anything_is_made(call, backend, tmp_path):
    """Also by a dry run; of another machine, only its own kernel knows."""
    asked = ("offload", *SMALL, "--mode", "tcp-3g", "--cc", "cubik")
    for options in ((), ("--dry-run",)):
        result = call(*asked, *options)
        assert (result.code, result.out) == (2, "")
        assert result.sentence.endswith('the lab kernel has no "cubik" (did you mean "cubic"?)')
    assert list(tmp_path.iterdir()) == []
    assert call(*asked, "--backend", "host", "--dry-run").code == 0


def test_dry_run_of_a_large_network_is_short(call):
    result = call("grin", "--dry-run", "--k", "8", "--seeds", "3")
    assert result.code == 0
    assert len(result.out.splitlines()) < 50
    assert "  h0-e0.0      h0 <-> e0.0: 10 Mbit/s, 0.02 ms, queue 150 KB (120 ms)" in result.out
    assert "more lines; --json shows all" in result.out
    assert "workload.active 0.125: mptcp; seeds 1 to 3" in result.out


@pytest.mark.parametrize(
    ("ended", "total", "wall_s", "text"),
    [
        (1, 1, 100.0, ""),
        (1, 4, 100.0, "; 1 of 4 runs"),  # one alone does not tell the pace
        (25, 75, 300.0, "; 25 of 75 runs, about 10 min left"),
        (74, 75, 740.0, "; 74 of 75 runs"),
        (75, 75, 750.0, "; 75 of 75 runs"),
    ],
)
def test_how_much_of_a_sweep_is_left(ended, total, wall_s, text):
    assert count_text(ended, total, wall_s) == text


def test_a_run_slower_than_the_clock_has_a_speed_too():
    assert [speed_text(speed) for speed in (0.13, 1.94, 13.2)] == [
        "0.1 times real time", "1.9 times real time", "13 times real time"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"change": "link", "link": "3g", "direction": "b_to_a", "rate_bps": 2_000_000},
         "link 3g downstream: rate 2 Mbit/s"),
        ({"change": "link", "link": "3g", "direction": "a_to_b", "queue_bytes": 80_000,
          "one_way_delay_s": 0.01, "loss_fraction": 0.02},
         "link 3g upstream: queue 80 KB, delay 10 ms, loses 2.000%"),
        ({"change": "link_up", "link": "wifi"}, "link wifi up"),
        ({"change": "address_gone", "path": "wifi"}, "address_gone path=wifi"),
    ],
)  # fmt: skip
def test_timed_changes_in_words(event, text):
    assert event_text({"at_s": 1.0, **event}) == text


def test_modes_once_each_in_the_order_of_the_call(call):
    plans = dry_runs(call, "--mode", "mptcp-single, tcp-3g", "--mode", "mptcp-single")
    assert [plan["mode"] for plan in plans] == ["mptcp-single", "tcp-3g"]


def test_options_are_values_of_the_experiment(call):
    (plan,) = dry_runs(
        call, "--mode", "mptcp-full", "--queue-3g", "200ms", "--queue-wifi", "9 packets",
        "--cc", "reno", "--duration", "1min", "--set", "mptcp.limits.subflows=3",
        "--set", "links.wifi.loss=0.1",
    )  # fmt: skip
    links = {link["name"]: link for link in plan["topology"]["links"]}
    assert links["3g"]["b_to_a"]["queue_bytes"] == 50_000
    assert links["wifi"]["a_to_b"]["queue_bytes"] == 13_500
    assert links["wifi"]["b_to_a"]["loss_fraction"] == 0.1
    assert plan["mptcp"]["congestion_control"] == "reno"
    assert (plan["mptcp"]["limits"]["subflows"], plan["duration_s"]) == (3, 60)


def test_set_goes_before_the_command_s_own_options(call):
    (plan,) = dry_runs(call, "--mode", "tcp-3g", "--set", "mode=tcp-wifi", "--cc", "reno",
                       "--set", "tcp.congestion_control=cubic")  # fmt: skip
    assert (plan["mode"], plan["mptcp"]["congestion_control"]) == ("tcp-wifi", "cubic")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--mode", "mptcp-ful"], 'mode: "mptcp-ful" is not a mode of this network (did you mean'),
        (["--set", "links.4g.rate=1 Mbit/s"], '"4g" is not a link of this network'),
        (
            ["--set", "sead=3"],
            'offload.yaml: sead: unknown key (did you mean "seed"?) (as given on',
        ),
        (["--queue-3g", "2"], "offload.yaml: links.3g.queue: "),
        (["--size", "0 B"], "--size: a file of 0 bytes shows nothing; give it some megabytes"),
        (["--set", "topology=undergruond"], 'topology: "undergruond" is not a topology (did you'),
        (["--set", "workload={name: bulk}"], 'mode: "tcp-wifi" asks for the rest over a new conn'),
    ],
)
def test_what_cannot_be_carried_out_is_a_sentence(call, options, said):
    result = call("offload", "--dry-run", "--duration", "30s", *options)
    assert (result.code, result.out) == (2, "")
    assert said in result.sentence


def test_without_a_kernel(call, tmp_path):
    """It says how to get one, and leaves no folder of results behind."""
    result = call("offload", *SMALL)
    assert result.code == 3
    assert result.sentence.startswith("testbed: no lab kernel has been built for this checkout")
    assert not (tmp_path / "results").exists()


class FakeBackend(Backend):
    """A machine whose runs end as they are told to."""

    error: BaseException | None = None
    status = 3

    def up(self):
        return {"id": "fake"}

    def run(self, run_dir, seed, progress, cancelled):
        if self.error:
            raise self.error
        if self.status:
            progress({"stage": "failed", "error": "squid is missing"})
        else:
            write_json(run_dir / "target.json", {"measured": {"virtual_s": 4.0}})
        return self.status


def valid_summary(run_dir):
    return {
        "summary": {
            "verdict": "valid",
            "verdict_reasons": [],
            "goodput_mbps": 3.5,
            "download_s": 4.0,
            "handover_gap_max_s": None,
            "bytes_per_path": {"wifi": 2_000_000},
        }
    }


@pytest.fixture
def backend(monkeypatch):
    """Neither runs nor analyses anything."""

    def page(results, quiet):
        (results / "report.html").write_text("report")
        return results / "report.html"

    @contextmanager
    def judges(count):
        assert count >= 1
        yield valid_summary

    monkeypatch.setitem(BACKEND_KINDS, "lab", (lambda *_: FakeBackend(), ""))
    monkeypatch.setattr(FakeBackend, "status", 3)
    monkeypatch.setattr("testbed.cli.execute.write_page", page)
    monkeypatch.setattr("testbed.cli.judging.judges", judges)
    return FakeBackend


def test_a_machine_that_nobody_reaches_is_one_sentence(call, tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = call("offload", "--backend", f"ssh:root@127.0.0.1:{port}", "--out", str(tmp_path))

    assert result.code == 1
    assert result.err == (
        f"testbed: 127.0.0.1:{port} cannot be reached: connection refused; is it on, and does its "
        f"SSH server listen on port {port}?\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("out", "reason"), [("file", "is a file"), ("file/x", "not a directory")])
def test_results_that_cannot_be_written(call, backend, tmp_path, out, reason):
    (tmp_path / "file").write_text("")
    result = call("offload", *SMALL, "--out", out)
    assert result.code == 2
    assert reason in result.err
    assert "Traceback" not in result.err


def results_dir(tmp_path):
    (found,) = tmp_path.glob("results/offload/*")
    return found


def test_failed_runs(call, backend, tmp_path):
    """It says why, where the results are, and exits with the code of a missing prerequisite."""
    result = call("offload", *SMALL, "--mode", "mptcp-full,tcp-3g")
    assert result.code == 3
    assert "mptcp-full, seed 1 and 1 more: squid is missing" in result.out.splitlines()
    results = results_dir(tmp_path)
    assert result.out.splitlines()[-2:] == [
        f"results: {results.relative_to(tmp_path)}",
        f"report:  {results.relative_to(tmp_path)}/report.html",
    ]
    assert len(list(results.glob("runs/*/rep01/manifest.json"))) == 2


def test_failed_run_as_json(call, backend, monkeypatch):
    """Standard output is one JSON object, and nothing else is said."""
    monkeypatch.setattr(backend, "status", 1)
    result = call("offload", *SMALL, "--json", "--mode", "mptcp-full")
    found = json.loads(result.out)
    assert (result.code, result.err) == (1, "")
    (run,) = found["runs"]
    assert (run["status"], run["error"]) == ("failed", "squid is missing")
    assert (run["verdict"], run["verdict_reasons"]) == ("invalid", ["squid is missing"])
    assert (run["mode"], run["seed"], run["goodput_mbps"]) == ("mptcp-full", 1, None)
    assert Path(found["report"]).name == "report.html"


def test_complete_runs(call, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "status", 0)
    result = call("offload", *SMALL, "--seeds", "2", "--mode", "mptcp-full", "--seed", "5")
    assert result.code == 0
    assert "mptcp-full, seed 6" in result.out
    assert "mptcp-full, seed 6: valid, 3.50 Mbit/s, 4.0 s in" in result.err
    plan = json.loads((results_dir(tmp_path) / "plan.json").read_text())
    assert (plan["schema"], plan["experiment"], plan["backend"]) == (2, "offload", "lab")
    assert plan["varies"] == ["mode"]
    assert plan["runs"][1] == {
        "dir": "runs/mode=mptcp-full/rep02",
        "varied": {"mode": "mptcp-full"},
        "seed": 6,
        "repetition": 2,
    }


def test_experiment_as_it_was_carried_out_can_be_run_again(call, backend, tmp_path, monkeypatch):
    """spec.yaml has all that the command line replaced, seed and repetitions as well."""
    monkeypatch.setattr(backend, "status", 0)
    call("offload", *SMALL, "--seeds", "2", "--mode", "tcp-3g", "--seed", "5")
    first = results_dir(tmp_path)
    assert call("run", str(first / "spec.yaml"), "--out", "again").code == 0
    (second,) = tmp_path.glob("again/offload/*")
    assert second.name.rpartition("-")[2] == first.name.rpartition("-")[2]  # the plan's hash
    for path in first.glob("runs/*/*/run.json"):
        assert path.read_text() == (second / path.relative_to(first)).read_text()


def test_run_of_a_file(call, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "status", 0)
    (tmp_path / "mine.yaml").write_text(VALID.replace("10 MB", "1 KB"))
    result = call("run", "mine.yaml", "--json", "--set", "duration=20 s")
    (run,) = json.loads(result.out)["runs"]
    assert (result.code, run["verdict"], run["goodput_mbps"]) == (0, "valid", 3.5)
    assert run["run_dir"].endswith("/runs/default/rep01")


def interrupted(monkeypatch, backend, number):
    def run(self, run_dir, seed, progress, cancelled):
        os.kill(os.getpid(), number)
        if not cancelled.wait(20):
            raise AssertionError("nobody cancelled the run")
        raise Cancelled

    monkeypatch.setattr(backend, "run", run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_runs_are_resumed(number, call, backend, tmp_path, monkeypatch):
    """The interruption says how to go on, and going on runs what is not complete."""
    with monkeypatch.context() as patch:
        interrupted(patch, backend, number)
        result = call("offload", *SMALL, "--mode", "mptcp-full,tcp-3g", "--jobs", "1")
    results = results_dir(tmp_path).relative_to(tmp_path)
    assert result.code == 130
    said = [line for line in result.err.splitlines() if line.startswith("testbed: ")]
    assert said == [f"testbed: go on with 'testbed resume {results}'", "testbed: interrupted"]
    (manifest,) = tmp_path.glob("results/offload/*/runs/*/rep01/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "interrupted"

    monkeypatch.setattr(backend, "status", 0)
    again = call("resume", str(results), "--json")
    runs = json.loads(again.out)["runs"]
    assert (again.code, again.err) == (0, "")
    assert [(run["mode"], run["status"]) for run in runs] == [
        ("mptcp-full", "complete"),
        ("tcp-3g", "complete"),
    ]


def test_resuming_runs_only_what_is_not_complete(call, backend, tmp_path, monkeypatch):
    """A run that has failed is tried again; complete ones stay byte for byte."""
    monkeypatch.setattr(backend, "status", 0)
    call("offload", *SMALL, "--mode", "mptcp-full,tcp-3g")
    results = results_dir(tmp_path)
    kept, broken = sorted(results.glob("runs/*/rep01/manifest.json"))
    write_json(broken, {"status": "failed", "error": "squid is missing"})
    before = kept.read_bytes()
    result = call("resume", str(results))
    assert result.code == 0
    assert (kept.read_bytes(), json.loads(broken.read_text())["status"]) == (before, "complete")


def test_resuming_complete_results_runs_nothing(call, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "status", 0)
    call("offload", *SMALL, "--mode", "tcp-3g")
    monkeypatch.setattr(backend, "run", None)
    result = call("resume", str(results_dir(tmp_path)))
    assert result.code == 0
    assert result.err.splitlines()[0] == "all runs are complete"


def test_resuming_something_else(call, tmp_path):
    result = call("resume", str(tmp_path))
    assert (result.code, result.sentence) == (
        2,
        f"testbed: {tmp_path} is no results directory: there is no plan.json in it",
    )


def test_validate_prints_every_problem_of_every_file(call, tmp_path):
    """What only the plan can know is a problem too; each is a line of its own."""
    (tmp_path / "good.yaml").write_text(VALID)
    (tmp_path / "form.yaml").write_text(VALID.replace("seed: 1", "sead: 1\nmode: 3"))
    (tmp_path / "moon.yaml").write_text(VALID.replace("underground", "moon"))
    result = call("validate", "good.yaml", "form.yaml", "moon.yaml", "none.yaml")
    assert result.code == 2
    assert result.out.splitlines() == ["good.yaml: well formed"]
    lines = result.err.splitlines()
    assert lines[0] == 'form.yaml:6: sead: unknown key (did you mean "seed"?)'
    assert lines[1].startswith("form.yaml:7: mode: ")
    assert lines[2].startswith('moon.yaml: topology: "moon" is not a topology')
    assert lines[3] == "none.yaml: the experiment cannot be read: no such file or directory"
    as_json = json.loads(call("validate", "--json", "good.yaml", "moon.yaml").out)
    assert [len(problems) for problems in as_json["files"].values()] == [0, 1]


def test_validate_wants_only_good_files(call, tmp_path):
    (tmp_path / "good.yaml").write_text(VALID)
    assert call("validate", "good.yaml").code == 0


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.name)
def test_experiments_of_the_project_are_valid(call, path):
    result = call("validate", str(path))
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(SpecError, 2), (PlanError, 2), (PrerequisiteError, 3), (BackendError, 1), (RunInvalid, 1)],
)
def test_error_is_a_sentence_and_a_code(call, backend, monkeypatch, error, code):
    monkeypatch.setattr(FakeBackend, "up", lambda self: (_ for _ in ()).throw(error("what to do")))
    result = call("offload", *SMALL)
    assert (result.code, result.sentence) == (code, "testbed: what to do")


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError):
        main(["--debug", "offload", "--trace-3g", "none", "--dry-run", *SMALL])


def test_our_own_bug_has_a_traceback(call, backend, monkeypatch):
    monkeypatch.setattr(FakeBackend, "up", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["offload", *SMALL])


def test_report_without_runs(call, tmp_path):
    result = call("report", str(tmp_path))
    assert (result.code, result.sentence) == (
        2,
        f"testbed: {tmp_path} holds no finished run: there is no manifest.json in it",
    )


def test_shell_needs_a_terminal(call):
    result = call("lab", "shell")
    assert (result.code, result.sentence) == (
        2,
        "testbed: a shell needs a terminal; use 'testbed lab exec -- COMMAND'",
    )


def test_no_kernel_is_an_empty_list(call):
    assert call("kernel", "list", "--json").out == "[]\n"
    assert (
        call("kernel", "list").out == "no lab kernel has been built; run 'testbed kernel build'\n"
    )
    assert call("kernel", "path").code == 3


def test_options_of_the_command_are_its_own(monkeypatch):
    """What follows the command in `testbed lab exec` is not read as options of ours."""
    seen = []

    def run(command, **options):
        seen.append((list(command.argv), options["options"].seed))
        return 7

    monkeypatch.setattr("testbed.cli.lab.run_in_lab", run)
    words = ["--seed", "3", "--kernel", "/k", "ls", "--seed", "4", "--help", "--"]
    result = CliRunner().invoke(root_command, ["lab", "exec", *words])
    assert (result.exit_code, seen) == (7, [(["ls", "--seed", "4", "--help", "--"], 3)])


def test_quick_commands_do_not_wait_for_the_analysis():
    """`testbed lab exec` imports neither pandas nor matplotlib nor the spec's model."""
    code = "import sys, testbed.cli.main, testbed.cli.lab, testbed.cli.kernel; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    assert not {"pandas", "matplotlib", "pydantic", "rich"} & set(said.stdout.split())


def test_installed_command():
    """The script beside this Python runs the same."""
    script = Path(sys.executable).with_name("testbed")
    if not script.exists():
        pytest.skip("no testbed beside this Python; install with 'pip install --editable .[dev]'")
    said = subprocess.run([script, "--nosuch"], capture_output=True, text=True, timeout=60)
    assert said.returncode == 2
    assert "No such option" in said.stderr
