# SPDX-License-Identifier: Apache-2.0
"""Rides through every layer: spec, plan, lab, emulation, Squid and curl, captures, report."""

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

from analysis.parse.mptcp_events import parse_mptcp_events
from analysis.parse.pcap import read_packets
from testbed.backends.target_code import PACKAGE
from tests.lab.conftest import TESTBED
from tests.lab.test_kill import processes_with

MODES = ["tcp-wifi", "tcp-3g", "tcp-handover", "mptcp-full", "mptcp-backup", "mptcp-single"]
# WiFi's radio is there until 2 s and from 6 s on, its address until 2.5 s and from 7 s on; 3G
# takes over at 3.5 s where it was idle, and fades from 4 s to 4.5 s.
RIDE = {
    "stops": [["0 s", "2 s"], ["6 s", "60 s"]],
    "fades_at": [["4 s", "4500 ms"]],
    "association": "1 s",
    "detection": "500 ms",
    "promotion": "1 s",
}
WIFI_GONE_S, WIFI_BACK_S, JOINED_S = 2.0, 6.0, 7.0
SIZE = 3_000_000
SHORT = ("--size", "3MB", "--duration", "60s", "--set", f"ride={json.dumps(RIDE)}")
LONG = ("--size", "50MB", "--duration", "1000s", "--set", "links.wifi.rate=300 kbit/s")
SMALL = ("--size", "1MB", "--duration", "30s", "--mode", "mptcp-full")


@pytest.fixture(scope="module")
def offload(kernel, tmp_path_factory):
    """Run `testbed offload --json` and return its object and the finished process."""

    def run(*options, out=None):
        out = out or tmp_path_factory.mktemp("results")
        done = subprocess.run(
            [TESTBED, "offload", "--out", out, "--json", "--jobs", "2", *options],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        return (json.loads(done.stdout) if done.stdout else None), done

    return run


@pytest.fixture(scope="module")
def rides(offload):
    """Every mode once."""
    found, done = offload(*SHORT)
    assert found is not None, done.stderr
    return found


@pytest.fixture(scope="module")
def runs(rides):
    return {run["mode"]: run for run in rides["runs"]}


def folder(run):
    return Path(run["run_dir"])


def raw(run):
    return folder(run) / "raw"


def manifest(run):
    return json.loads((folder(run) / "manifest.json").read_text())


def plan(run):
    return json.loads((folder(run) / "run.json").read_text())


def every_mode(test):
    return pytest.mark.parametrize("mode", MODES)(test)


def test_every_mode_is_run_in_the_order_of_the_experiment(rides):
    assert [run["mode"] for run in rides["runs"]] == MODES
    results = json.loads((Path(rides["results_dir"]) / "plan.json").read_text())
    assert [entry["varied"] for entry in results["runs"]] == [{"mode": mode} for mode in MODES]
    assert Path(rides["report"]).read_text().startswith("<!")


@every_mode
def test_the_file_arrives_whole(runs, mode):
    run = runs[mode]
    workload = manifest(run)["workload"]

    assert (run["status"], run["error"], run["backend"], run["seed"]) == (
        "complete",
        None,
        "lab",
        1,
    )
    assert (workload["exit_status"], workload["size_bytes"]) == (0, SIZE)
    assert plan(run)["workload"]["sha256"] == workload["sha256"]
    assert run["virtual_s"] < 60


@pytest.mark.parametrize("mode", ["mptcp-full", "mptcp-backup"])
def test_rides_of_two_paths_are_valid_and_use_both(runs, mode):
    assert (runs[mode]["verdict"], runs[mode]["verdict_reasons"]) == ("valid", [])
    assert all(runs[mode]["bytes_per_path"][path] > 200_000 for path in ("wifi", "3g"))


@every_mode
def test_the_download_goes_through_squid(runs, mode):
    """The origin is asked by the proxy's address alone, once per attempt."""
    said = (raw(runs[mode]) / "origin.origin.err").read_text()
    asked = [line for line in said.splitlines() if '"GET /image HTTP/1.1"' in line]
    attempts = manifest(runs[mode])["workload"]["attempts"]

    assert len(asked) == len(attempts)
    assert all(line.startswith("10.0.6.2 ") for line in asked)
    assert [line.split()[-2] for line in asked] == [
        "206" if attempt["first_byte"] else "200" for attempt in attempts
    ]
    assert "Squid" in manifest(runs[mode])["tools"]["squid"]


@every_mode
def test_events_happen_at_their_times(runs, mode):
    events = manifest(runs[mode])["events"]

    assert events
    for event in events:
        assert event["at_s"] == pytest.approx(event["done_s"], abs=1e-3)


@every_mode
def test_every_path_has_the_rtt_that_was_asked_for(runs, mode):
    """Within 20 us, before anything else is on the way."""
    found = json.loads((raw(runs[mode]) / "paths.rtt.json").read_text())

    assert set(found) == {"wifi", "3g"}
    assert found["wifi"]["asked_us"] == pytest.approx(20_000, abs=200)
    assert found["3g"]["asked_us"] == pytest.approx(150_000, abs=600)
    for one in found.values():
        assert one["measured_us"] == [pytest.approx(one["asked_us"], abs=20)] * 3


def test_handover_resumes_on_each_path(runs):
    """Each attempt begins where the one before had got to, on the path that is there then."""
    attempts = manifest(runs["tcp-handover"])["workload"]["attempts"]
    firsts = [attempt["first_byte"] for attempt in attempts]

    assert [attempt["path"] for attempt in attempts] == ["wifi", "3g", "wifi"][: len(attempts)]
    assert len(attempts) > 1
    assert firsts == sorted(set(firsts))
    assert firsts[0] == 0
    assert [attempt["started_s"] for attempt in attempts] == pytest.approx(
        [0, 3.5, JOINED_S][: len(attempts)], abs=0.01
    )
    assert [attempt["exit_status"] for attempt in attempts[:-1]] == [None] * (len(attempts) - 1)


def test_wifi_alone_waits_in_the_tunnel(runs):
    attempts = manifest(runs["tcp-wifi"])["workload"]["attempts"]

    assert {attempt["path"] for attempt in attempts} == {"wifi"}
    assert [attempt["started_s"] for attempt in attempts] == pytest.approx([0, JOINED_S], abs=0.01)
    assert runs["tcp-wifi"]["bytes_per_path"].get("3g", 0) == 0


def test_3g_alone_is_one_connection(runs):
    (attempt,) = manifest(runs["tcp-3g"])["workload"]["attempts"]

    assert attempt["path"] == "3g"
    assert runs["tcp-3g"]["bytes_per_path"].get("wifi", 0) == 0


def subflows(run):
    """Yield time, event and local address of what the laptop's kernel said of its subflows."""
    started_ns = manifest(run)["started_unix_ns"]
    for event in parse_mptcp_events((raw(run) / "laptop.mptcp_events.bin").read_bytes()):
        kind = {"created": "up", "subflow_established": "up", "subflow_closed": "down"}
        if event.event in kind:
            at_s = (event.t_ns - started_ns) / 1e9
            yield at_s, kind[event.event], event.local.rpartition(":")[0]


def test_single_never_has_two_subflows(runs):
    """It breaks before it makes, and every subflow has an address of its own."""
    open_now, addresses = set(), []
    for _, what, address in subflows(runs["mptcp-single"]):
        if what == "up":
            open_now.add(address)
            addresses.append(address)
        else:
            open_now.remove(address)
        assert len(open_now) <= 1

    assert len(addresses) >= 2
    assert addresses[:2] == ["10.0.1.2", "10.0.2.3"]
    assert len({*addresses}) == len(addresses)


def test_full_has_two_subflows(runs):
    assert [address for _, what, address in subflows(runs["mptcp-full"]) if what == "up"][:2] == [
        "10.0.1.2",
        "10.0.2.2",
    ]


def data_times_s(run, path):
    """Return when packets with data came to the laptop on a path."""
    packets = read_packets((raw(run) / f"laptop.{path}.pcap").read_bytes()).packets
    down = packets[(packets["payload_bytes"] > 0) & (packets["sport"] == 3128)]
    return (down["t_ns"] - manifest(run)["started_unix_ns"]) / 1e9


def test_backup_uses_3g_only_without_wifi(offload):
    """What is on its way when WiFi is back still comes: 2 s of queue at most."""
    found, done = offload(*SHORT, "--mode", "mptcp-backup", "--size", "8MB")
    assert done.returncode == 0, (done.stderr, found)
    (run,) = found["runs"]
    on_3g, on_wifi = data_times_s(run, "3g"), data_times_s(run, "wifi")

    assert len(on_3g) > 100
    assert on_3g.min() > WIFI_GONE_S
    assert on_wifi[on_wifi > JOINED_S].size > 1000
    assert on_3g.max() < JOINED_S + 2.5 < on_wifi.max()


def test_nothing_comes_by_wifi_in_the_tunnel(runs):
    for mode in MODES:
        times = data_times_s(runs[mode], "wifi")
        assert not times[(times > WIFI_GONE_S + 0.1) & (times < WIFI_BACK_S)].size, mode


def test_the_address_is_another_one_at_the_next_station(offload, runs):
    """The resumed download comes from it."""
    joins = [e for e in manifest(runs["tcp-wifi"])["events"] if e["change"] == "address_back"]
    paths = {path["name"]: path for path in plan(runs["tcp-wifi"])["topology"]["paths"]}

    assert [join["address"] for join in joins] == ["10.0.1.3"]
    assert paths["wifi"]["addresses"] == ["10.0.1.2", "10.0.1.3"]
    assert manifest(runs["tcp-wifi"])["workload"]["curl"]["local_ip"] == "10.0.1.3"


@every_mode
def test_nothing_of_the_lab_stays_in_the_run_directory(runs, mode):
    names = {path.name for path in folder(runs[mode]).iterdir()}

    assert {"derived", "manifest.json", "raw", "run.json", "runner.log", "target.json"} == names
    assert b"Traceback" not in (folder(runs[mode]) / "runner.log").read_bytes()


def digests(run):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw(run).iterdir())
    }


def test_the_same_seed_gives_the_same_bytes_in_every_mode(offload, runs):
    """All raw data are identical, whatever else the machine does beside a run."""
    again, _ = offload(*SHORT)
    differing = {
        run["mode"]: [
            name for name, digest in digests(runs[run["mode"]]).items()
            if digests(run).get(name) != digest
        ]
        for run in again["runs"]
    }  # fmt: skip

    assert differing == {mode: [] for mode in MODES}


def test_another_seed_gives_other_bytes(offload, runs):
    found, _ = offload(*SHORT, "--mode", "mptcp-full", "--seed", "6")
    other = digests(found["runs"][0])

    for name in ("laptop.wifi.pcap", "laptop.3g.pcap"):
        assert digests(runs["mptcp-full"])[name] != other[name]


def test_a_recorded_trace_bounds_what_3g_carries(offload, tmp_path):
    """With 1500 bytes every 20 ms, 3G carries 600 kbit/s at most."""
    trace = tmp_path / "slow.down"
    trace.write_text("".join(f"{ms}\n" for ms in range(20, 60_020, 20)))
    found, _ = offload("--trace-3g", trace, *SHORT, "--mode", "mptcp-full")
    (run,) = found["runs"]

    assert run["status"] == "complete"
    links = json.loads((raw(run) / "links.end.json").read_text())
    carried = links["3g"]["b_to_a"]["delivered_bytes"]
    assert 0 < carried <= 1500 * 50 * run["virtual_s"] + 1500


def test_a_trace_in_csv_bounds_what_3g_carries(offload, tmp_path):
    """400 kbit/s, and nothing at all from 3 s to 5 s."""
    trace = tmp_path / "slow.csv"
    trace.write_text("t_s,rate_mbps,up\n0,0.4,1\n3,0.4,0\n5,0.4,1\n100,0,1\n")
    found, _ = offload("--trace-3g", trace, *SHORT, "--mode", "mptcp-full")
    (run,) = found["runs"]
    links = json.loads((raw(run) / "links.end.json").read_text())

    assert 0 < links["3g"]["b_to_a"]["delivered_bytes"] <= 50_000 * run["virtual_s"] + 1500
    on_3g = data_times_s(run, "3g")
    assert not on_3g[(on_3g > 3.2) & (on_3g < 5)].size


def test_a_ride_that_ends_before_the_download_is_not_a_data_point(offload):
    found, done = offload("--size", "50MB", "--duration", "5s", "--mode", "mptcp-full")

    assert done.returncode == 1
    (run,) = found["runs"]
    assert run["verdict"] == "invalid"
    assert "the workload had not ended when its time was up" in run["verdict_reasons"]
    assert run["download_s"] is None


def test_more_subflows_than_the_kernel_takes(offload):
    """No other run could do better, so the exit code is that of a missing prerequisite."""
    found, done = offload(*SMALL, "--set", "mptcp.limits.subflows=1000")

    assert done.returncode == 3
    (run,) = found["runs"]
    assert run["status"] == "failed"
    assert run["error"].startswith("mptcp.limits: this kernel takes at most ")
    assert run["error"].endswith("; lower the limits or use a newer kernel")


def test_a_mode_that_fails_affects_no_other(kernel, tmp_path):
    """The client's 3G has no endpoint to lose in one of them."""
    text = (PACKAGE.parent / "experiments" / "offload.yaml").read_text()
    events = '[{"at": "1 s", "change": "endpoint_remove", "path": "3g"}]'
    (tmp_path / "one.yaml").write_text(f"{text}\nevents: {events}\n")
    modes = 'matrix.mode=["mptcp-full", "mptcp-single"]'
    done = subprocess.run(
        [TESTBED, "run", "one.yaml", "--out", tmp_path, "--json", *ONE_MB, "--set", modes],
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
    )
    full, single = json.loads(done.stdout)["runs"]

    assert done.returncode == 1
    assert (full["status"], single["status"]) == ("complete", "failed")
    assert manifest(full)["workload"]["exit_status"] == 0
    assert single["error"] == "laptop has no address on the path 3g now"


ONE_MB = ("--set", "workload.size=1 MB", "--set", "duration=60 s", *SHORT[-2:])


def test_the_report_can_be_made_again_from_raw_data(rides, runs):
    derived = folder(runs["mptcp-full"]) / "derived"
    before = (derived / "verdict.json").read_bytes()
    for path in derived.iterdir():
        path.unlink()
    done = subprocess.run(
        [TESTBED, "report", folder(runs["mptcp-full"])], capture_output=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert before == (derived / "verdict.json").read_bytes()
    assert (derived / "throughput.png").read_bytes().startswith(b"\x89PNG")


def start(out, *options, modes="mptcp-full,mptcp-single"):
    return subprocess.Popen(
        [TESTBED, "offload", "--out", out, "--mode", modes, "--jobs", "2", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_until(is_so, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def under_way(out, *options):
    """Start two long rides and return their process when both capture."""
    process = start(out, *options)
    assert wait_until(lambda: len({p.parent for p in out.rglob("*.pcap")}) == 2)
    return process


def statuses(out):
    return sorted(json.loads(path.read_text())["status"] for path in out.rglob("manifest.json"))


def test_interrupted_rides_say_so_and_end_with_130(kernel, tmp_path):
    process = under_way(tmp_path, *LONG)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 130
    assert said.strip().endswith(b"testbed: interrupted")
    assert b"testbed: go on with 'testbed resume " in said
    assert b"Traceback" not in said
    assert statuses(tmp_path) == ["interrupted", "interrupted"]
    assert processes_with(str(tmp_path)) == []


def test_an_interrupted_sweep_is_resumed(kernel, tmp_path):
    """What is complete stays byte for byte, and the rest is run."""
    modes = "mptcp-full,tcp-3g,mptcp-single"
    process = start(tmp_path, *SHORT, "--jobs", "1", modes=modes)
    assert wait_until(lambda: "complete" in statuses(tmp_path))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (results,) = tmp_path.glob("offload/*")
    complete = [
        path.parent
        for path in results.rglob("manifest.json")
        if "summary" in json.loads(path.read_text())
    ]
    before = {one: (one / "manifest.json").read_bytes() for one in complete}
    done = subprocess.run(
        [TESTBED, "resume", results, "--json", "--jobs", "2"], capture_output=True, timeout=120
    )
    found = json.loads(done.stdout)["runs"]

    assert 0 < len(before) < 3
    assert [run["status"] for run in found] == ["complete"] * 3
    assert all(manifest(run)["workload"]["size_bytes"] == SIZE for run in found)
    assert before == {one: (one / "manifest.json").read_bytes() for one in complete}


def test_killed_rides_leave_no_manifest_and_no_letter_box_that_lies(kernel, tmp_path):
    """A run directory without a manifest is one that did not end; nothing else may claim it did."""
    process = under_way(tmp_path, *LONG)
    process.kill()
    process.communicate()

    assert wait_until(lambda: not list(tmp_path.rglob(".lab")), 10)
    assert list(tmp_path.rglob("manifest.json")) == []
    assert wait_until(lambda: processes_with(str(tmp_path)) == [], 10)


def test_interrupting_at_any_moment_ends_cleanly(kernel, tmp_path):
    generator = random.Random(3)
    for moment in range(6):
        process = start(tmp_path, *LONG)
        time.sleep(generator.uniform(0.1, 3.0))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)

        assert process.returncode == 130, (moment, said)
        assert b"Traceback" not in said, (moment, said)
        assert processes_with(str(tmp_path)) == []


def test_another_checkout_with_the_same_content_gives_the_same_bytes(offload, tmp_path):
    """Neither the path of the project nor what Python has compiled there reaches the target."""
    here = Path(__file__).parents[2]
    for name in ("testbed", "analysis", "topologies", "experiments", "kernel"):
        shutil.copytree(here / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    launch = "from testbed.cli import start; start()"
    done = subprocess.run(
        [sys.executable, "-c", launch, "offload", "--json", "--out", "results", *SMALL],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout, done.stderr
    (there,) = json.loads(done.stdout)["runs"]
    there["run_dir"] = tmp_path / there["run_dir"]

    assert digests(there) == digests(offload(*SMALL)[0]["runs"][0])
