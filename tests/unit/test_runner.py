# SPDX-License-Identifier: Apache-2.0
"""The runner, as far as it goes without a network: its timetable, its reports, its imports."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import runner
from testbed.errors import PrerequisiteError
from testbed.runner import Timetable

CONTROLLER_ONLY = {
    "click",
    "rich",
    "yaml",
    "pydantic",
    "jinja2",
    "paramiko",
    "numpy",
    "pandas",
    "matplotlib",
}


def test_target_needs_none_of_the_controllers_packages():
    code = "import sys, testbed.runner; print(*{name.partition('.')[0] for name in sys.modules})"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    imported = set(said.stdout.split())
    assert "testbed" in imported
    assert not imported & CONTROLLER_ONLY


@given(st.lists(st.integers(0, 20), max_size=20))
def test_calls_go_by_time_and_then_by_entry(times):
    timetable, made = Timetable(), []
    for entry, time in enumerate(times):
        timetable.at(time, lambda call=(time, entry): made.append(call))
    timetable.call_due(20)
    assert made == sorted((time, entry) for entry, time in enumerate(times))
    assert timetable.next_ns() is None


def test_only_what_is_due_is_called():
    timetable, made = Timetable(), []
    for time in (30, 10, 20):
        timetable.at(time, lambda time=time: made.append(time))
    assert timetable.next_ns() == 10
    timetable.call_due(9)
    assert made == []
    timetable.call_due(20)
    assert made == [10, 20]
    assert timetable.next_ns() == 30


def test_repeated_call_keeps_its_step():
    """Being late once does not shift what follows, and nothing is left out."""
    timetable, made = Timetable(), []
    timetable.every(100, 10, lambda: made.append(timetable.next_ns()))
    timetable.call_due(100)
    assert timetable.next_ns() == 110
    timetable.call_due(135)
    assert len(made) == 4
    assert timetable.next_ns() == 140


def test_call_may_enter_calls():
    """One that is due at once is made in the same go."""
    timetable, made = Timetable(), []
    timetable.at(5, lambda: timetable.at(6, lambda: made.append("inner")))
    timetable.call_due(10)
    assert made == ["inner"]


def test_call_that_fails_is_not_made_again():
    timetable = Timetable()
    timetable.at(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        timetable.call_due(1)
    assert timetable.next_ns() is None


def test_report_is_one_line_of_json(capsys):
    runner.report("measure", 1.5)
    runner.report("stop")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"stage": "measure", "t_s": 1.5}
    assert json.loads(second) == {"stage": "stop", "t_s": None}


def test_all_missing_tools_are_named():
    with pytest.raises(PrerequisiteError) as caught:
        runner.require_tools(["sh", "no-such-a", "no-such-b"])
    assert str(caught.value) == (
        "this machine has no no-such-a and no no-such-b; "
        "install with 'apt-get install no-such-a no-such-b'"
    )


def test_tools_that_are_there():
    runner.require_tools(["sh", "cat"])


def test_versions_are_first_lines_or_why_there_is_none(monkeypatch):
    monkeypatch.setattr(
        runner, "VERSION_ARGV", {"a": ["printf", "a 1.0 \\nmore"], "b": ["no-such-b"]}
    )
    versions = runner.tool_versions()
    assert versions["a"] == "a 1.0"
    assert versions["b"] == "no-such-b cannot be started: no such file or directory"
    assert versions["python"].startswith("3.")


def test_every_workload_has_its_tools():
    assert set(runner.WORKLOADS) == set(runner.WORKLOAD_TOOLS)


def test_failure_is_reported_and_sets_the_status(tmp_path, monkeypatch, capsys):
    """The controller reads the sentence from the last line, the status says what kind it is."""

    class Failing:
        def __init__(self, plan, folder):
            assert (plan, folder) == ({"seed": 1}, tmp_path)

        def carry_out(self):
            raise PrerequisiteError("this machine has no squid")

    (tmp_path / "run.json").write_text('{"seed": 1}')
    monkeypatch.setattr(runner, "Run", Failing)
    monkeypatch.setattr(sys, "argv", ["runner", str(tmp_path / "run.json"), str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runner.main()
    assert left.value.code == 3
    assert json.loads(capsys.readouterr().out) == {
        "stage": "failed",
        "error": "this machine has no squid",
    }
