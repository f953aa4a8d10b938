# SPDX-License-Identifier: Apache-2.0
"""A run that did not measure what it was to measure is not called valid."""

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.checks import CHECKS
from analysis.load import load_run
from analysis.tables import Frames
from analysis.verdict import Verdict, judge, judge_frames
from tests.unit.analysis_recorded import recorded
from tests.unit.analysis_synthetic import Ride, write_ride

RIDE = Ride(end_s=9.0, stations=((1.0, 5.0),))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ride(tmp_path_factory.mktemp("ride") / "run", RIDE)


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Frames:
    return load_run(directory)


@pytest.fixture
def frames(loaded: Frames) -> Frames:
    """A valid run for a test to damage."""
    return copy.deepcopy(loaded)


def verdict_checks(verdict: Verdict) -> set[str]:
    return {reason.check for reason in verdict.reasons}


def edit_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_the_invented_ride_is_valid(directory: Path) -> None:
    assert judge(directory) == Verdict("valid")


@pytest.mark.parametrize(("case", "status", "checks"), [
    ("download", "valid", set()),
    ("migrate", "valid", set()),
    ("fallback", "invalid", {"fallback"}),
    ("fastclose", "invalid", {"workload"}),
])  # fmt: skip
def test_recorded_runs(case: str, status: str, checks: set[str]) -> None:
    verdict = judge_frames(recorded(case))

    assert (verdict.status, verdict_checks(verdict)) == (status, checks)


def test_fallback_is_seen_in_three_independent_places() -> None:
    messages = [r.message for r in judge_frames(recorded("fallback")).reasons]

    assert messages == [
        "MPTcpExtMPCapableFallbackSYNACK rose by 1 on laptop",
        "1 ends of connections report that they fell back to TCP",
        "1 connections asked for MPTCP and got a SYN/ACK without it",
        "no MPTCP connection was captured, only 1 of TCP",
    ]


def test_a_run_that_cannot_be_read_is_invalid(tmp_path: Path) -> None:
    verdict = judge(tmp_path)

    assert verdict.status == "invalid"
    assert "run.json" in verdict.reasons[0].message


@pytest.mark.parametrize(("change", "message"), [
    (lambda m: m.update(status="interrupted"), "the run is interrupted, not complete"),
    (lambda m: m["workload"].update(exit_status=7), "the workload exited 7"),
    (lambda m: m["workload"].update(sha256="x"), "the workload's sha256 is x"),
    (lambda m: m["workload"].update(size_bytes=5), "the workload's size_bytes is 5"),
    (lambda m: m.update(workload=None), "the workload exited None"),
    (lambda m: m.update(virtual_s=5.0), "the run ended at 5.0 s"),
])  # fmt: skip
def test_the_manifest_tells_of_a_failure(
    frames: Frames, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(frames.manifest)
    verdict = judge_frames(frames)

    assert verdict.status == "invalid"
    assert message in " ".join(reason.message for reason in verdict.reasons)


@pytest.mark.parametrize("counter", ["MPCapableFallbackACK", "MPFallbackTokenInit", "NewFallback",
                                     "MPCapableSYNTXDrop", "InfiniteMapRx"])  # fmt: skip
def test_counters_of_a_fallback(frames: Frames, counter: str) -> None:
    """Also one that a later kernel adds."""
    frames.counters.loc[0, ["counter", "delta"]] = [f"MPTcpExt{counter}", 2]
    verdict = judge_frames(frames)

    assert verdict.status == "invalid"
    assert verdict.reasons[0].message == f"MPTcpExt{counter} rose by 2 on laptop"
    assert verdict.reasons[0].evidence["delta"] == 2


def test_the_leg_behind_a_proxy_may_be_tcp(frames: Frames) -> None:
    """The proxy asks the origin for MPTCP and gets TCP; that connection is not under test."""
    names = ["MPTcpExtMPCapableFallbackSYNACK", "MPTcpExtMPCapableFallbackACK"]
    frames.counters.loc[[0, 1], "counter"] = names
    frames.counters.loc[[0, 1], "host"] = frames.counters["host"].cat.categories[0]
    proxy = frames.counters.assign(host="proxy", delta=0)
    proxy.loc[0, "delta"] = 1
    legs = pd.DataFrame({"host": ["proxy"], "local": ["10.0.9.3:5000"], "remote": ["10.0.8.1:80"],
                         "is_fallback": [True]})  # fmt: skip
    damaged = dataclasses.replace(
        frames, counters=pd.concat([frames.counters.assign(delta=0), proxy]), connections=legs
    )

    assert judge_frames(damaged).status == "valid"
    proxy.loc[1, "delta"] = 1
    damaged.counters = pd.concat([frames.counters.assign(delta=0), proxy])
    [reason] = judge_frames(damaged).reasons
    assert reason.message == "MPTcpExtMPCapableFallbackACK rose by 1 on proxy"


def test_counters_that_are_no_fallback(frames: Frames) -> None:
    frames.counters.loc[0, ["counter", "delta"]] = ["MPTcpExtFallbackFailed", 2]

    assert judge_frames(frames).status == "valid"


def test_absent_counters(frames: Frames) -> None:
    """A kernel without MPTCP prints none; "no fallback" must not follow from that."""
    is_mptcp = frames.counters["counter"].str.startswith("MPTcpExt")
    verdict = judge_frames(dataclasses.replace(frames, counters=frames.counters[~is_mptcp]))

    assert [reason.check for reason in verdict.reasons] == ["fallback"]


def test_a_baseline_over_tcp_needs_no_mptcp(frames: Frames) -> None:
    frames.run["mptcp"] = None
    plain = frames.subflows.assign(kind="tcp", is_mptcp=False)
    empty = frames.counters.iloc[:0]

    assert (
        judge_frames(dataclasses.replace(frames, subflows=plain, counters=empty)).status == "valid"
    )


@pytest.mark.parametrize("path", ["wifi", "3g"])
def test_a_path_without_data(frames: Frames, path: str) -> None:
    data = frames.data.copy()
    data.loc[data["path"] == path, "new_bytes"] = 0
    [reason] = judge_frames(dataclasses.replace(frames, data=data)).reasons

    assert (reason.check, reason.level) == ("paths", "invalid")
    assert reason.evidence["path"] == path
    assert reason.evidence["covered_s"] == pytest.approx(4.0 if path == "wifi" else 8.9)


def test_a_path_without_a_subflow(directory: Path, tmp_path: Path) -> None:
    """The second interface captured nothing: no MP_JOIN was sent."""
    run = tmp_path / "run"
    shutil.copytree(directory, run)
    file = run / "raw" / "laptop.3g.pcap"
    file.write_bytes(file.read_bytes()[:24])
    edit_json(run / "manifest.json", lambda m: m["workload"].update(size_bytes=0))
    edit_json(run / "run.json", lambda r: r["workload"].update(size_bytes=None))
    [reason] = judge(run).reasons

    assert reason.message == "no MPTCP subflow on path 3g in 8.9 s of coverage"


def test_a_backup_path_need_not_carry_data(frames: Frames) -> None:
    data = frames.data.copy()
    data.loc[data["path"] == "3g", "new_bytes"] = 0
    frames.events.loc[frames.events["subtype"] == "MP_JOIN", "flags"] = 1

    assert judge_frames(dataclasses.replace(frames, data=data)).status == "valid"


def test_a_path_that_was_hardly_covered_need_not_carry_data(frames: Frames) -> None:
    frames.run["ride"]["stations"] = [[1.0, 3.0]]
    data = frames.data.copy()
    data.loc[data["path"] == "wifi", "new_bytes"] = 0

    assert judge_frames(dataclasses.replace(frames, data=data)).status == "valid"


@pytest.mark.parametrize(("text", "message"), [
    ("9 packets captured\n9 packets received by filter\n2 packets dropped by kernel\n",
     "laptop.3g.pcap: tcpdump dropped 2 of 9 packets"),
    ("7 packets captured\n9 packets received by filter\n0 packets dropped by kernel\n",
     "laptop.3g.pcap: 2 packets were still in the buffer when tcpdump ended"),
    ("", "laptop.3g.pcap: tcpdump did not say what it dropped"),
])  # fmt: skip
def test_packets_missing_from_the_capture(
    directory: Path, tmp_path: Path, text: str, message: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(directory, run)
    (run / "raw" / "laptop.3g.tcpdump.txt").write_text(text)
    verdict = judge(run)

    assert (verdict.status, [r.message for r in verdict.reasons]) == ("suspect", [message])
    assert verdict.warning == f"suspect: {message}"


def test_packets_of_a_path_on_the_interface_of_another(frames: Frames) -> None:
    """Wrong policy routing: both subflows leave through the same interface."""
    frames.captures["foreign_packets"] = [3, 0]
    [reason] = judge_frames(frames).reasons

    assert (reason.level, reason.evidence["foreign"]) == ("invalid", 3)


def test_foreign_packets_are_counted(tmp_path: Path) -> None:
    directory = write_ride(tmp_path / "run", Ride(end_s=3.0, stations=((0.5, 2.0),)))
    wifi, cell = (directory / "raw" / f"laptop.{path}.pcap" for path in ("wifi", "3g"))
    cell.write_bytes(cell.read_bytes() + wifi.read_bytes()[24 : 24 + 90 * 3])

    assert load_run(directory).captures.set_index("path")["foreign_packets"]["3g"] >= 1


def test_the_capture_lacks_what_the_application_read(frames: Frames) -> None:
    [reason] = judge_frames(
        dataclasses.replace(frames, delivered=frames.delivered.iloc[:100])
    ).reasons

    assert (reason.check, reason.level) == ("complete", "suspect")


def test_a_link_that_delivered_too_much(frames: Frames) -> None:
    is_wifi = (frames.links["link"] == "wifi") & (frames.links["direction"] == "b_to_a")
    frames.links.loc[is_wifi, "delivered_bytes"] = 9_100_000
    [reason] = judge_frames(frames).reasons

    assert reason.check == "delivered"
    assert reason.evidence["allowed"] == 9e6


def test_a_link_faster_than_its_rate(frames: Frames) -> None:
    frames.run["topology"]["links"][0]["b_to_a"]["rate_bps"] = 7.5e6
    checks = verdict_checks(judge_frames(frames))

    assert checks == {"rate"}


def test_packets_longer_than_a_link_takes(frames: Frames) -> None:
    frames.run["topology"]["links"][1]["mtu_bytes"] = 1400
    [reason] = CHECKS["segments"](frames)

    assert reason.message == (
        "path 3g carried packets of up to 1500 bytes, its link takes 1400: segmentation or "
        "receive offload is on"
    )


def test_a_link_faster_than_its_trace(frames: Frames) -> None:
    trace = frames.run["topology"]["links"][1]["b_to_a"]["trace"]
    trace["opportunities_ms"] = trace["opportunities_ms"][::2]

    assert verdict_checks(judge_frames(frames)) == {"rate", "delivered"}


def test_a_round_trip_below_the_delay(frames: Frames) -> None:
    for way in ("a_to_b", "b_to_a"):
        frames.run["topology"]["links"][1][way]["one_way_delay_s"] = 0.080
    [reason] = [r for r in judge_frames(frames).reasons if r.check == "rtt"]

    assert reason.evidence == {
        "path": "3g", "measured_ms": pytest.approx(150.0), "asked_ms": pytest.approx(160.0),
    }  # fmt: skip


def test_another_congestion_control_than_asked() -> None:
    frames = recorded("download")
    frames.run["mptcp"]["congestion_control"] = "cubic"
    [reason] = judge_frames(frames).reasons

    assert reason.evidence == {"asked": "cubic", "used": ["reno on laptop", "reno on proxy"]}


def test_another_congestion_control_than_asked_in_a_baseline() -> None:
    """A default of the machine must not leak into the curve that MPTCP is compared with."""
    frames = recorded("download")
    frames.run |= {"transport": "tcp", "mptcp": {"congestion_control": "cubic"}}
    frames.sockets = frames.sockets.assign(is_subflow=False)
    [reason] = CHECKS["congestion_control"](frames)

    assert reason.message == (
        "connections used the congestion control reno on laptop, reno on proxy, asked was cubic"
    )


def test_a_path_that_the_mode_does_not_use_carried_data(frames: Frames) -> None:
    """As when a subflow leaves by the default route: one path is measured twice."""
    frames.run["expected_use"] = {"wifi": [[0.0, 9.0]]}
    found = {reason.message for reason in CHECKS["paths"](frames)}

    carried = int(frames.data.loc[frames.data["path"] == "3g", "new_bytes"].sum())
    assert found == {f"path 3g carried {carried} bytes, though the mode does not use it"}
    assert carried > 0


def test_every_check_says_what_it_is() -> None:
    for check in CHECKS.values():
        assert check.__doc__
