# SPDX-License-Identifier: Apache-2.0
"""Runs and how they end, with a backend that only pretends."""

import json

import pytest

from testbed import __version__
from testbed.backends.base import Backend
from testbed.errors import BackendError, PrerequisiteError
from testbed.orchestrate import carry_out

PLAN = {"schema": 1, "experiment": "offload", "seed": 7}
TARGET = {
    "kernel": {"release": "6.18.0"},
    "measured": {"virtual_s": 12.5},
    "tools": {"curl": "curl 8"},
}


class FakeBackend(Backend):
    """Does in its run what it was told to."""

    def __init__(self, act):
        self._act = act
        self.seed = None

    def up(self):
        return {"id": "6.18.0-abc"}

    def run(self, run_dir, seed, progress):
        self.seed = seed
        assert json.loads((run_dir / "run.json").read_text()) == PLAN
        assert not (run_dir / "manifest.json").exists()
        return self._act(run_dir, progress)


class Attempt:
    """One call of carry_out and what can be seen of it."""

    def __init__(self, folder, act, judge):
        self.folder = folder
        self.seen = []
        self.backend = FakeBackend(act)
        self._judge = judge

    def go(self):
        return carry_out(
            PLAN,
            self.folder,
            backend=self.backend,
            backend_name="fake",
            progress=self.seen.append,
            judge=self._judge,
        )

    @property
    def run_dir(self):
        return self.folder / "runs/default/rep01"

    @property
    def manifest(self):
        return json.loads((self.run_dir / "manifest.json").read_text())


def never(run_dir):
    raise AssertionError("only a complete run is judged")


@pytest.fixture
def attempt(tmp_path):
    return lambda act, judge=never: Attempt(tmp_path / "results", act, judge)


def complete(run_dir, progress):
    progress({"stage": "measure", "t_s": 1.0})
    (run_dir / "target.json").write_text(json.dumps(TARGET))
    return 0


def test_complete_run(attempt):
    one = attempt(complete, judge=lambda run_dir: {"summary": {"verdict": "valid"}})
    end = one.go()
    assert end.run_dir == one.run_dir
    assert end.manifest == one.manifest
    wall_s = end.manifest.pop("wall_s")
    assert 0 <= wall_s < 5
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


def test_backend_gets_seed_and_progress(attempt):
    one = attempt(complete, judge=lambda run_dir: {})
    one.go()
    assert one.backend.seed == 7
    assert one.seen == [{"stage": "measure", "t_s": 1.0}]


def test_judge_sees_a_complete_manifest(attempt):
    """The analysis reads what the orchestrator has written."""
    seen = []

    def judge(run_dir):
        seen.append(json.loads((run_dir / "manifest.json").read_text()))
        return {"summary": {}}

    attempt(complete, judge).go()
    assert [(one["status"], "summary" in one) for one in seen] == [("complete", False)]


def test_failed_run_says_where_to_look(attempt):
    one = attempt(lambda run_dir, progress: 3)
    assert one.go().manifest["status"] == "failed"
    assert one.manifest["error"] == f"the runner exited 3; see {one.run_dir}/runner.log"


def test_failed_run_quotes_the_runner(attempt):
    def act(run_dir, progress):
        progress({"stage": "prepare", "t_s": None})
        progress({"stage": "failed", "error": "this machine has no squid"})
        return 3

    one = attempt(act)
    one.go()
    assert (one.manifest["status"], one.manifest["error"]) == (
        "failed",
        "this machine has no squid",
    )
    assert one.seen[-1]["stage"] == "failed"


def test_backend_error_is_a_failed_run(attempt):
    def act(run_dir, progress):
        raise BackendError("the lab died before the command ended: kernel panic")

    one = attempt(act)
    assert one.go().manifest["status"] == "failed"
    assert one.manifest["error"] == "the lab died before the command ended: kernel panic"
    assert one.manifest["kernel"] == {"id": "6.18.0-abc"}


def test_missing_prerequisite_is_recorded_and_raised(attempt):
    """No other run could do better, and the command exits with 3."""

    def act(run_dir, progress):
        raise PrerequisiteError("a lab with 9 GiB of memory does not fit")

    one = attempt(act)
    with pytest.raises(PrerequisiteError):
        one.go()
    assert one.manifest["status"] == "failed"
    assert one.manifest["error"] == "a lab with 9 GiB of memory does not fit"


def test_interrupted_run_is_recorded_and_raised(attempt):
    def act(run_dir, progress):
        raise KeyboardInterrupt

    one = attempt(act)
    with pytest.raises(KeyboardInterrupt):
        one.go()
    assert one.manifest["status"] == "interrupted"
    assert one.manifest["error"] == "interrupted by the user"


def test_broken_record_of_the_target_is_none(attempt):
    """A target that died while it wrote does not hide how the run ended."""

    def act(run_dir, progress):
        (run_dir / "target.json").write_text('{"kernel": ')
        return 1

    one = attempt(act)
    one.go()
    assert one.manifest["status"] == "failed"
