# SPDX-License-Identifier: Apache-2.0
"""A run with the kernel of a machine, in real time: that machine is the lab."""

import json
import sys
from pathlib import Path

import pytest

from analysis.load import load_run
from analysis.verdict import judge_frames
from testbed.attempt import Attempt
from testbed.plan import plan_experiment
from testbed.rundir import read_json, write_json
from testbed.spec.load import load_experiment

ROOT = Path(__file__).resolve().parents[2]
NOTHING = {"processes": [], "download": False}


@pytest.fixture
def run_dir(tmp_path):
    """The folder that the lab may write to, with a run of a few seconds in it."""
    changes = {"workload.size": "3 MB", "duration": "20 s", "matrix.mode": ["mptcp-full"]}
    experiment = load_experiment(ROOT / "experiments/offload.yaml", changes)
    (tmp_path / "raw").mkdir()
    write_json(tmp_path / "run.json", plan_experiment(experiment, None, None)[0].plan)
    return tmp_path


@pytest.fixture
def on_host(lab_exec, run_dir):
    def run(*arguments):
        done = lab_exec(
            *(sys.executable, Path(__file__).with_name("host_guest.py"), "/run/testbed"),
            *arguments,
            options=("--real-time", "--share", str(run_dir)),
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def complete(run_dir, found):
    """Write the manifest and read the run."""
    plan = read_json(run_dir / "run.json")
    Attempt(plan, run_dir, "host", found["kernel"]).write_manifest("complete", None)
    return load_run(run_dir)


def test_a_run_is_complete_and_leaves_nothing(on_host, run_dir):
    found = on_host()

    assert (found["status"], found["left"]) == (0, NOTHING)
    target = read_json(run_dir / "target.json")
    assert (target["clock"], target["links"]) == ("real", "netem, tbf")
    frames = complete(run_dir, found)
    assert frames.problems == []
    assert set(frames.subflows["path"]) == {"wifi", "3g"}
    assert len(frames.machine) > 2
    assert len(frames.timers) > 20
    for path, rtt in frames.base_rtt.items():
        assert min(rtt["measured_us"]) >= rtt["asked_us"], path


def test_a_run_on_an_overloaded_machine_is_no_data_point(on_host, run_dir):
    found = on_host("overload")

    assert (found["status"], found["left"]) == (0, NOTHING)
    verdict = judge_frames(complete(run_dir, found))
    assert verdict.status in ("suspect", "invalid")
    assert "timers" in {reason.check for reason in verdict.reasons}


def test_a_cancelled_run_leaves_nothing(on_host):
    found = on_host("cancel")

    assert (found["status"], found["left"]) == ("cancelled", NOTHING)
