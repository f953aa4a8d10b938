# SPDX-License-Identifier: Apache-2.0
"""Analyses beside the runs: in processes that may die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.files import working_directory
from testbed.cli import judging
from testbed.cli.judging import judges
from testbed.errors import BackendError

ROOT = Path(__file__).parents[2]


def die(run_dir):
    os.kill(os.getpid(), signal.SIGKILL)


def name(run_dir):
    return {"verdict": "valid", "run": run_dir.name, "pid": os.getpid()}


def nothing():
    pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The processes need not import the analysis."""
    monkeypatch.setattr(judging, "_warm", nothing)


def test_judge_is_another_process(monkeypatch):
    monkeypatch.setattr(judging, "_summary", name)
    with judges(1) as judge:
        found = judge(Path("runs/default/rep01"))["summary"]
    assert (found["verdict"], found["run"]) == ("valid", "rep01")
    assert found["pid"] != os.getpid()
    assert multiprocessing.active_children() == []


def test_judge_that_is_killed_is_a_sentence(monkeypatch):
    monkeypatch.setattr(judging, "_summary", die)
    with judges(1) as judge, pytest.raises(BackendError) as caught:
        judge(Path("runs/default/rep01"))
    assert str(caught.value) == (
        "the analysis of runs/default/rep01 was killed, perhaps for want of memory; "
        "try 'testbed report runs/default/rep01'"
    )


def test_interrupt_leaves_no_process(monkeypatch):
    monkeypatch.setattr(judging, "_summary", name)
    with pytest.raises(KeyboardInterrupt), judges(2) as judge:
        judge(Path("x"))
        raise KeyboardInterrupt
    assert multiprocessing.active_children() == []


def test_killed_controller_leaves_no_process(tmp_path):
    """Its processes would otherwise wait for work for ever."""
    code = (
        "import sys, time\n"
        "from tests.unit import test_judging as tests\n"
        "tests.judging._warm, tests.judging._summary = tests.nothing, tests.name\n"
        "with tests.judges(2) as judge:\n"
        "    print(judge(tests.Path('x'))['summary']['pid'], flush=True)\n"
        "    time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as controller:
        pid = int(controller.stdout.readline())
        controller.kill()
        # Whoever still runs holds the other end.
        assert controller.communicate(timeout=20) == (b"", None)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def linger(run_dir):
    """Do what an analysis does: make something aside that is removed however it ends."""
    with working_directory(run_dir):
        (run_dir / "begun").touch()
        time.sleep(60)


def wait_for(is_so):
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_so()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_analysis_that_is_cut_short_leaves_nothing_half_made(tmp_path, number):
    code = (
        "import sys\n"
        "from tests.unit import test_judging as tests\n"
        "from testbed.cli.ending import ended_like_ctrl_c\n"
        "tests.judging._warm, tests.judging._summary = tests.nothing, tests.linger\n"
        "with ended_like_ctrl_c(), tests.judges(1) as judge:\n"
        "    judge(tests.Path(sys.argv[1]))\n"
    )
    argv = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True) as made:
        wait_for((tmp_path / "begun").exists)
        assert len(list(tmp_path.glob(".derived-*"))) == 1
        made.send_signal(number)
        made.communicate(timeout=20)
    wait_for(lambda: [path.name for path in tmp_path.iterdir()] == ["begun"])


def test_what_a_killed_analysis_left_goes_with_the_next_one(tmp_path):
    (tmp_path / ".derived-killed").mkdir()
    (tmp_path / ".derived-killed/file").touch()
    with working_directory(tmp_path) as first, working_directory(tmp_path) as second:
        assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}
    assert list(tmp_path.iterdir()) == []


def stumble(run_dir):
    raise KeyError("nowhere")


def test_a_mistake_of_the_analysis_is_a_sentence_and_its_traceback_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.write_report", stumble)
    with pytest.raises(BackendError) as caught:
        judging._summary(tmp_path)
    assert str(caught.value) == (
        f"the analysis made a mistake (KeyError: 'nowhere'), which {tmp_path}/analysis.log shows; "
        f"report it, and then try 'testbed report {tmp_path}'"
    )
    assert "in stumble" in (tmp_path / "analysis.log").read_text()
