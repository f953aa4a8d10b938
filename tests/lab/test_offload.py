# SPDX-License-Identifier: Apache-2.0
"""The ride through every layer: spec, plan, lab, emulation, Squid and curl, captures, figure."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.conftest import TESTBED
from tests.lab.test_kill import processes_with

SMALL = ("--size", "2MB", "--duration", "30s")


@pytest.fixture(scope="module")
def ride(kernel, tmp_path_factory):
    """Run `testbed offload --json` and return its object and the finished process."""

    def run(*options):
        done = subprocess.run(
            [TESTBED, "offload", "--out", tmp_path_factory.mktemp("results"), "--json", *options],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        return (json.loads(done.stdout) if done.stdout else None), done

    return run


@pytest.fixture(scope="module")
def default_ride(ride):
    found, done = ride()
    assert done.returncode == 0, (done.stderr, found)
    return found


def raw(run):
    return Path(run["run_dir"]) / "raw"


def test_the_default_ride_is_valid_and_uses_both_paths(default_ride):
    (run,) = default_ride["runs"]

    assert (
        run["status"],
        run["verdict"],
        run["backend"],
        run["seed"],
    ) == ("complete", "valid", "lab", 1)
    assert all(run["bytes_per_path"][path] > 500_000 for path in ("wifi", "3g"))
    assert run["virtual_s"] < 60


def test_the_file_arrives_whole(default_ride):
    (run,) = default_ride["runs"]
    plan = json.loads((Path(run["run_dir"]) / "run.json").read_text())
    manifest = json.loads((Path(run["run_dir"]) / "manifest.json").read_text())

    assert manifest["workload"]["exit_status"] == 0
    assert manifest["workload"]["size_bytes"] == 10_000_000
    assert plan["workload"]["sha256"] == manifest["workload"]["sha256"]


def test_the_download_goes_through_squid(default_ride):
    (run,) = default_ride["runs"]
    origin = (raw(run) / "origin.origin.err").read_text()
    manifest = json.loads((Path(run["run_dir"]) / "manifest.json").read_text())

    # The origin is asked once, by the proxy's address.
    assert origin.count('"GET /image HTTP/1.1" 200') == 1
    assert "10.0.6.2" in origin
    assert "Squid" in manifest["tools"]["squid"]


def test_figure_and_tables_are_there(default_ride):
    derived = Path(default_ride["report"]).parent

    assert (derived / "throughput.png").read_bytes().startswith(b"\x89PNG")
    assert (derived / "throughput.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((derived / "verdict.json").read_text())["status"] == "valid"


def test_events_happen_at_their_times(default_ride):
    (run,) = default_ride["runs"]
    manifest = json.loads((Path(run["run_dir"]) / "manifest.json").read_text())

    assert manifest["events"]
    for event in manifest["events"]:
        assert event["at_s"] == pytest.approx(event["done_s"], abs=1e-3)


def test_nothing_of_the_lab_stays_in_the_run_directory(default_ride):
    (run,) = default_ride["runs"]
    names = {path.name for path in Path(run["run_dir"]).iterdir()}

    assert {"derived", "manifest.json", "raw", "run.json", "runner.log", "target.json"} == names


def digests(run):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw(run).iterdir())
    }


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(ride):
    """All raw data are identical: captures, socket statistics, counters, what programs said."""
    first, again, other = (ride("--seed", seed, *SMALL)[0]["runs"][0] for seed in ("5", "5", "6"))

    assert digests(first) == digests(again)
    for name in ("laptop.wifi.pcap", "laptop.3g.pcap"):
        assert digests(first)[name] != digests(other)[name]


def test_a_recorded_trace_bounds_what_3g_carries(ride, tmp_path):
    """With 1500 bytes every 20 ms, 3G carries 600 kbit/s at most, in every second."""
    trace = tmp_path / "slow.down"
    trace.write_text("".join(f"{ms}\n" for ms in range(20, 60_020, 20)))
    found, done = ride("--trace-3g", trace, *SMALL)

    assert done.returncode == 0, found
    (run,) = found["runs"]
    links = json.loads((raw(run) / "links.end.json").read_text())
    carried = links["3g"]["b_to_a"]["delivered_bytes"]
    assert 0 < carried <= 1500 * 50 * run["virtual_s"] + 1500


def test_a_ride_that_ends_before_the_download_is_not_a_data_point(ride):
    found, done = ride("--size", "50MB", "--duration", "5s")

    assert done.returncode == 1
    (run,) = found["runs"]
    assert run["verdict"] == "invalid"
    assert "the workload had not ended when its time was up" in run["verdict_reasons"]
    assert run["download_s"] is None


def test_the_report_can_be_made_again_from_raw_data(default_ride):
    (run,) = default_ride["runs"]
    derived = Path(run["run_dir"]) / "derived"
    before = (derived / "verdict.json").read_bytes()
    for path in derived.iterdir():
        path.unlink()
    done = subprocess.run(
        [TESTBED, "report", default_ride["results_dir"]], capture_output=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert before == (derived / "verdict.json").read_bytes()


def ride_under_way(folder):
    """Start a long ride and return its process when it captures."""
    process = subprocess.Popen(
        [TESTBED, "offload", "--out", folder, "--size", "50MB", "--duration", "1000s"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(folder.rglob("*.pcap")) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def test_an_interrupted_ride_says_so_and_ends_with_130(kernel, tmp_path):
    process = ride_under_way(tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert said.strip().endswith(b"testbed: interrupted")
    (manifest,) = tmp_path.rglob("manifest.json")
    assert json.loads(manifest.read_text())["status"] == "interrupted"

    again = subprocess.run([TESTBED, "report", tmp_path], capture_output=True, timeout=60)
    assert again.returncode == 1
    assert again.stdout.startswith(b"invalid ")
    assert again.stderr == b""


def test_a_killed_ride_leaves_no_manifest_and_no_letter_box_that_lies(kernel, tmp_path):
    """A run directory without a manifest is one that did not end; nothing else may claim it did."""
    process = ride_under_way(tmp_path)
    process.kill()
    process.communicate()

    deadline = time.monotonic() + 10
    while list(tmp_path.rglob(".lab")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.rglob(".lab")) == []
    assert list(tmp_path.rglob("manifest.json")) == []


def test_interrupting_at_any_moment_ends_cleanly(kernel, tmp_path):
    generator = random.Random(3)
    for moment in range(12):
        process = subprocess.Popen(
            [TESTBED, "offload", "--out", tmp_path, "--size", "50MB", "--duration", "1000s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        time.sleep(generator.uniform(0.1, 2.5))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)

        assert process.returncode == 130, (moment, said)
        assert b"Traceback" not in said, (moment, said)
        assert processes_with(str(tmp_path)) == []


def test_another_checkout_with_the_same_content_gives_the_same_bytes(ride, tmp_path):
    """Neither the path of the project nor what Python has compiled there reaches the target."""
    here = Path(__file__).parents[2]
    for name in ("testbed", "analysis", "topologies", "experiments", "kernel"):
        shutil.copytree(here / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    start = "from testbed.cli import start; start()"
    done = subprocess.run(
        [sys.executable, "-c", start, "offload", "--json", "--out", "results", *SMALL],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (there,) = json.loads(done.stdout)["runs"]
    there["run_dir"] = tmp_path / there["run_dir"]

    assert digests(there) == digests(ride(*SMALL)[0]["runs"][0])
