# SPDX-License-Identifier: Apache-2.0
"""Runs and how they end, with a backend that only pretends."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from testbed import __version__
from testbed.backends.base import Backend, Cancelled
from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.orchestrate import carry_out, open_runs
from testbed.rundir import write_json

TARGET = {
    "kernel": {"release": "6.18.0"},
    "measured": {"virtual_s": 12.5},
    "tools": {"curl": "curl 8"},
}
DEADLINE_S = 20


def threads_of_runs():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("run")]


class FakeBackend(Backend):
    """Does in its runs what it was told to."""

    def __init__(self, act):
        self._act = act
        self.seeds = []
        self.kernel = {"id": "6.18.0-abc"}

    def up(self):
        return self.kernel

    def run(self, run_dir, seed, progress, cancelled):
        self.seeds.append(seed)
        assert json.loads((run_dir / "run.json").read_text())["seed"] == seed
        assert not (run_dir / "manifest.json").exists()
        assert list((run_dir / "raw").iterdir()) == []
        return self._act(run_dir, progress, cancelled)


class Sweep:
    """A results directory, and one or more calls of carry_out on it."""

    def __init__(self, results, count, act, judge):
        self.results = results
        self.folders = [f"runs/default/rep{number:02d}" for number in range(1, count + 1)]
        self.seen = []
        self.backend = FakeBackend(act)
        self.judge = judge
        for number, folder in enumerate(self.folders):
            (results / folder).mkdir(parents=True)
            plan = {"schema": 2, "experiment": "offload", "seed": 7 + number}
            write_json(results / folder / "run.json", plan)
        write_json(results / "plan.json", {"runs": [{"dir": folder} for folder in self.folders]})

    def go(self, folders=None, jobs=2):
        return carry_out(
            self.results,
            self.folders if folders is None else folders,
            backend=self.backend,
            backend_name="fake",
            jobs=jobs,
            progress=lambda folder, event: self.seen.append((folder, event)),
            judge=self.judge,
        )

    @property
    def run_dir(self):
        return self.results / self.folders[0]

    @property
    def manifests(self):
        return [self.manifest(folder) for folder in self.folders]

    def manifest(self, folder):
        path = self.results / folder / "manifest.json"
        return json.loads(path.read_text()) if path.exists() else None

    @property
    def statuses(self):
        return [one and one["status"] for one in self.manifests]


def never(run_dir):
    raise AssertionError("only a complete run is judged")


def valid(run_dir):
    return {"summary": {"verdict": "valid"}}


@pytest.fixture
def sweep(tmp_path):
    return lambda act, judge=never, count=1: Sweep(tmp_path / "results", count, act, judge)


def complete(run_dir, progress, cancelled):
    progress({"stage": "measure", "t_s": 1.0})
    write_json(run_dir / "target.json", TARGET)
    (run_dir / "raw" / "laptop.wifi.pcap").write_text("packets")
    return 0


def number_of(run_dir):
    return int(run_dir.name.removeprefix("rep"))


def test_complete_run(sweep):
    one = sweep(complete, valid)
    (end,) = one.go()
    assert (end.run_dir, end.exit_code) == (one.run_dir, 0)
    assert end.plan["seed"] == 7
    assert end.manifest == one.manifests[0]
    assert 0 <= end.manifest.pop("wall_s") < 5
    assert end.manifest.pop("host")["processors"] == os.cpu_count()
    assert end.manifest == {
        "schema": 1,
        "testbed": __version__,
        "experiment": "offload",
        "seed": 7,
        "backend": "fake",
        "status": "complete",
        "error": None,
        "kernel": {"release": "6.18.0", "id": "6.18.0-abc"},
        "virtual_s": 12.5,
        "tools": {"curl": "curl 8"},
        "summary": {"verdict": "valid"},
    }


def test_every_run_has_its_seed_and_its_progress(sweep):
    one = sweep(complete, valid, count=3)
    ends = one.go()
    assert sorted(one.backend.seeds) == [7, 8, 9]
    assert [end.plan["seed"] for end in ends] == [7, 8, 9]
    for folder in one.folders:
        stages = [event["stage"] for place, event in one.seen if place == folder]
        assert stages == ["measure", "judge", "end"]


def test_several_runs_go_at_once_but_no_more_than_asked_for(sweep):
    """Two wait for each other; a third would have met them."""
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    inside, most = [], []

    def act(run_dir, progress, cancelled):
        inside.append(run_dir)
        most.append(len(inside))
        meeting.wait()
        inside.remove(run_dir)
        return complete(run_dir, progress, cancelled)

    one = sweep(act, valid, count=4)
    one.go(jobs=2)
    assert one.statuses == ["complete"] * 4
    assert max(most) == 2


def test_one_job_is_one_run_after_the_other(sweep):
    order = []

    def act(run_dir, progress, cancelled):
        order.append(number_of(run_dir))
        return complete(run_dir, progress, cancelled)

    sweep(act, valid, count=5).go(jobs=1)
    assert order == [1, 2, 3, 4, 5]


def test_judge_sees_a_complete_manifest(sweep):
    """The analysis reads what the orchestrator has written."""
    seen = []

    def judge(run_dir):
        seen.append(json.loads((run_dir / "manifest.json").read_text()))
        return {"summary": {}}

    sweep(complete, judge).go()
    assert [(one["status"], "summary" in one) for one in seen] == [("complete", False)]


def test_failure_keeps_no_other_run_from_running(sweep):
    def act(run_dir, progress, cancelled):
        if number_of(run_dir) == 2:
            progress({"stage": "failed", "error": "this machine has no squid"})
            return 3
        if number_of(run_dir) == 3:
            raise BackendError("the lab died before the command ended: kernel panic")
        return complete(run_dir, progress, cancelled)

    one = sweep(act, valid, count=4)
    ends = one.go()
    assert one.statuses == ["complete", "failed", "failed", "complete"]
    assert [end.exit_code for end in ends] == [0, 3, 1, 0]
    assert [end.manifest["error"] for end in ends] == [
        None,
        "this machine has no squid",
        "the lab died before the command ended: kernel panic",
        None,
    ]
    assert "summary" not in one.manifests[1]


def test_failed_run_says_where_to_look(sweep):
    one = sweep(lambda *_: 5)
    (end,) = one.go()
    assert (end.manifest["status"], end.exit_code) == ("failed", 5)
    assert end.manifest["error"] == f"the runner exited 5; see {one.run_dir}/runner.log"


def test_failed_run_quotes_the_last_thing_the_runner_said(sweep):
    def act(run_dir, progress, cancelled):
        progress({"stage": "prepare", "t_s": None})
        progress({"stage": "failed", "error": "this machine has no squid"})
        return 3

    one = sweep(act)
    one.go()
    assert one.manifests[0]["error"] == "this machine has no squid"
    assert [event["stage"] for _, event in one.seen] == ["prepare", "end"]
    assert one.seen[-1][1]["manifest"] == one.manifests[0]


def test_missing_prerequisite_is_that_of_its_run(sweep):
    def act(run_dir, progress, cancelled):
        raise PrerequisiteError("a lab with 9 GiB of memory does not fit")

    one = sweep(act, count=2)
    assert [end.exit_code for end in one.go()] == [3, 3]
    assert one.manifests[0]["error"] == "a lab with 9 GiB of memory does not fit"
    assert one.manifests[0]["kernel"] == {"id": "6.18.0-abc"}


def test_backend_that_cannot_be_used_at_all_is_raised(sweep, monkeypatch):
    one = sweep(complete)

    def up():
        raise PrerequisiteError("no lab kernel has been built")

    monkeypatch.setattr(one.backend, "up", up)
    with pytest.raises(PrerequisiteError):
        one.go()
    assert one.statuses == [None]


def test_run_that_cannot_be_analysed_has_failed(sweep):
    def judge(run_dir):
        if number_of(run_dir) == 1:
            raise CommandError("laptop.wifi.pcap is cut off")
        return valid(run_dir)

    one = sweep(complete, judge, count=2)
    assert [end.exit_code for end in one.go()] == [1, 0]
    assert one.statuses == ["failed", "complete"]
    assert one.manifests[0]["error"] == "it cannot be analysed: laptop.wifi.pcap is cut off"


def test_bug_of_ours_in_the_analysis_is_not_hidden(sweep):
    """It ends the call; what it had not judged is done again by resume."""
    one = sweep(complete, lambda run_dir: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        one.go()
    assert open_runs(one.results) == one.folders


def interrupts_us(run_dir, progress, cancelled):
    """End as a backend does that is cancelled, after the user has pressed Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    if not cancelled.wait(DEADLINE_S):
        raise AssertionError("nobody cancelled the run")
    raise Cancelled


def test_interrupt_ends_all_runs_under_way(sweep):
    """They say so in their manifests; those that had not begun have none; nothing is left."""
    meeting = threading.Barrier(2, timeout=DEADLINE_S)

    def act(run_dir, progress, cancelled):
        if number_of(run_dir) == 1:
            return complete(run_dir, progress, cancelled)
        if meeting.wait() == 0:
            return interrupts_us(run_dir, progress, cancelled)
        if not cancelled.wait(DEADLINE_S):
            raise AssertionError("nobody cancelled the run")
        raise Cancelled

    one = sweep(act, valid, count=5)
    with pytest.raises(KeyboardInterrupt):
        one.go(jobs=2)
    assert one.statuses == ["complete", "interrupted", "interrupted", None, None]
    assert one.manifests[1]["error"] == "interrupted by the user"
    assert threads_of_runs() == []
    assert not [path for path in one.results.rglob("*") if path.name.endswith(".new")]


def test_interrupt_while_runs_are_handed_out_lets_none_begin(sweep):
    def handed_out(folders):
        yield folders[0]
        raise KeyboardInterrupt

    one = sweep(complete, valid, count=2)
    with pytest.raises(KeyboardInterrupt):
        one.go(handed_out(one.folders))
    assert one.statuses == [None, None]
    assert threads_of_runs() == []


def test_interrupted_sweep_is_resumed_where_it_was(sweep):
    """What was complete is not run again, and nothing of the interrupted run is left in it."""
    one = sweep(complete, valid, count=3)

    def act(run_dir, progress, cancelled):
        if number_of(run_dir) == 1:
            return complete(run_dir, progress, cancelled)
        (run_dir / "raw" / "half").write_text("x")
        (run_dir / "derived").mkdir()
        return interrupts_us(run_dir, progress, cancelled)

    one.backend._act = act
    with pytest.raises(KeyboardInterrupt):
        one.go(jobs=1)
    assert open_runs(one.results) == one.folders[1:]
    one.backend._act, one.backend.seeds = complete, []
    ends = one.go(open_runs(one.results))
    assert sorted(one.backend.seeds) == [8, 9]
    assert [end.plan["seed"] for end in ends] == [8, 9]
    assert one.statuses == ["complete"] * 3
    names = {path.name for path in (one.results / one.folders[1]).rglob("*")}
    assert names == {"run.json", "manifest.json", "target.json", "raw", "laptop.wifi.pcap"}
    assert open_runs(one.results) == []


@pytest.mark.parametrize(
    ("manifest", "is_open"),
    [
        (None, True),
        ('{"status": ', True),
        ('{"status": "failed"}', True),
        ('{"status": "interrupted"}', True),
        ('{"status": "complete"}', True),
        ('{"status": "complete", "summary": {}}', False),
    ],
)
def test_only_what_is_complete_and_judged_is_done(sweep, manifest, is_open):
    one = sweep(complete)
    if manifest is not None:
        (one.run_dir / "manifest.json").write_text(manifest)
    assert bool(open_runs(one.results)) is is_open


def full(*_, **__):
    raise OSError(28, "No space left on device", "/out/raw/laptop.wifi.pcap")


def test_full_disk_in_the_middle_of_a_run(sweep):
    one = sweep(full)
    (end,) = one.go()
    assert (end.manifest["status"], end.exit_code) == ("failed", 1)
    assert one.manifests[0]["error"] == (
        "/out/raw/laptop.wifi.pcap cannot be written: no space left on device"
    )


def test_full_disk_at_the_manifest(sweep, monkeypatch):
    """How the run ended is still known to the caller."""
    one = sweep(complete, valid, count=2)
    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(one.backend, "_act", lambda run_dir, progress, cancelled: full())
    ends = one.go()
    assert [end.manifest["status"] for end in ends] == ["failed", "failed"]
    assert one.statuses == [None, None]
    assert not [path for path in one.results.rglob("*") if path.name.endswith(".new")]


def test_broken_record_of_the_target_is_none(sweep):
    """A target that died while it wrote does not hide how the run ended."""

    def act(run_dir, progress, cancelled):
        (run_dir / "target.json").write_text('{"kernel": ')
        return 1

    one = sweep(act)
    one.go()
    assert one.statuses == ["failed"]


def test_runner_that_says_nothing_has_not_done_its_work(sweep):
    one = sweep(lambda run_dir, progress, cancelled: 0)
    (end,) = one.go()
    assert (one.statuses, end.exit_code) == (["failed"], 1)
    assert "the runner ended well, but did not say what it did; see" in end.manifest["error"]
