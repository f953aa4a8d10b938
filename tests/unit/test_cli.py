# SPDX-License-Identifier: Apache-2.0
"""The command line: what it refuses, how it exits, and that it helps."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from testbed import __version__
from testbed.backends import BACKENDS
from testbed.backends.base import Backend
from testbed.cli.main import COMMANDS, main
from testbed.cli.main import testbed as root_command
from testbed.errors import BackendError, PlanError, PrerequisiteError, RunInvalid, SpecError


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


@pytest.mark.parametrize("path", [("offload",), ("report",), ("lab", "exec"), ("lab", "shell")])
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
        (["nosuch"], "No such command 'nosuch'"),
        (["offload", "--nosuch"], "No such option"),
        (["offload", "--backend", "moon"], "'moon' is not"),
        (["offload", "--seed", "-1"], "-1 is not in the range"),
        (["offload", "--seed", "18446744073709551616"], "is not in the range"),
        (["lab", "exec"], "Missing argument 'COMMAND...'"),
        (["lab", "exec", "--memory", "10", "true"], '"10" is not a quantity'),
        (["lab", "exec", "--share", "nosuch", "true"], "Directory 'nosuch' does not exist"),
        (["report", "nosuch"], "Directory 'nosuch' does not exist"),
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
    ],
)
def test_trace_that_cannot_be_used(call, tmp_path, text, reason):
    if text is not None:
        (tmp_path / "bus.down").write_text(text)
    result = call("offload", "--trace-3g", "bus.down", "--dry-run")
    assert (result.code, result.out) == (2, "")
    assert result.sentence == f"testbed: bus.down{reason}"


def test_trace_that_begins_after_the_ride(call, tmp_path):
    (tmp_path / "late.down").write_text("61000\n")
    result = call("offload", "--trace-3g", "late.down", "--dry-run")
    assert result.code == 2
    assert result.sentence == ("testbed: late.down: the 3G link can deliver nothing within 60 s")


def test_trace_that_is_a_folder(call, tmp_path):
    result = call("offload", "--trace-3g", str(tmp_path), "--dry-run")
    assert (result.code, result.sentence) == (
        2,
        f"testbed: {tmp_path}: the trace cannot be read: is a directory",
    )


def test_dry_run_prints_the_plan_and_does_nothing(call, tmp_path):
    result = call("offload", "--size", "1KB", "--duration", "21s", "--seed", "9", "--dry-run")
    plan = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (plan["seed"], plan["duration_s"]) == (9, 21)
    assert plan["workload"]["size_bytes"] == 1000
    assert list(tmp_path.iterdir()) == []


def test_without_a_kernel(call, tmp_path):
    """It says how to get one, and leaves no folder of results behind."""
    result = call("offload", "--size", "1KB")
    assert result.code == 3
    assert result.sentence.startswith("testbed: no lab kernel has been built for this checkout")
    assert not (tmp_path / "results").exists()


class FakeBackend(Backend):
    """A machine whose runs end as they are told to."""

    error: BaseException | None = None

    def up(self):
        return {"id": "fake"}

    def run(self, run_dir, seed, progress):
        if self.error:
            raise self.error
        progress({"stage": "failed", "error": "squid is missing"})
        return 3


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setitem(BACKENDS, "lab", FakeBackend)
    return FakeBackend


@pytest.mark.parametrize(("out", "reason"), [("file", "is a file"), ("file/x", "not a directory")])
def test_results_that_cannot_be_written(call, backend, tmp_path, out, reason):
    (tmp_path / "file").write_text("")
    result = call("offload", "--size", "1KB", "--out", out)
    assert result.code == 2
    assert reason in result.err
    assert "Traceback" not in result.err


def test_failed_run(call, backend, tmp_path):
    """It exits with 1, says why, and where the results are."""
    result = call("offload", "--size", "1KB")
    assert result.code == 1
    assert result.out.splitlines()[:2] == ["verdict: invalid", "  squid is missing"]
    (manifest,) = tmp_path.glob("results/offload/*/runs/default/rep01/manifest.json")
    assert f"results: {manifest.parent.relative_to(tmp_path)}" in result.out


def test_failed_run_as_json(call, backend):
    """Standard output is one JSON object, and nothing else is said."""
    result = call("offload", "--size", "1KB", "--json")
    found = json.loads(result.out)
    assert (result.code, result.err) == (1, "")
    assert found["runs"][0]["status"] == "failed"
    assert found["runs"][0]["error"] == "squid is missing"
    assert found["runs"][0]["figure"] is None


def test_interrupted_run(call, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "error", KeyboardInterrupt())
    result = call("offload", "--size", "1KB")
    assert (result.code, result.err.splitlines()[-1]) == (130, "testbed: interrupted")
    (manifest,) = tmp_path.glob("results/offload/*/runs/default/rep01/manifest.json")
    assert json.loads(manifest.read_text())["status"] == "interrupted"


@pytest.mark.parametrize(
    ("error", "code"),
    [(SpecError, 2), (PlanError, 2), (PrerequisiteError, 3), (BackendError, 1), (RunInvalid, 1)],
)
def test_error_is_a_sentence_and_a_code(call, backend, monkeypatch, error, code):
    monkeypatch.setattr(FakeBackend, "up", lambda self: (_ for _ in ()).throw(error("what to do")))
    result = call("offload", "--size", "1KB")
    assert (result.code, result.sentence) == (code, "testbed: what to do")


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError):
        main(["--debug", "offload", "--trace-3g", "none", "--dry-run"])


def test_our_own_bug_has_a_traceback(call, backend, monkeypatch):
    monkeypatch.setattr(FakeBackend, "up", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["offload", "--size", "1KB"])


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
