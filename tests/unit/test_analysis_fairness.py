# SPDX-License-Identifier: Apache-2.0
"""What MPTCP took from TCP, by invented counters; faults that are found; sentences and figures."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis import fairness
from analysis.overview import write_overview
from tests.unit.overview_synthetic import Run, write_results

MB = 1_000_000
PATHS = [
    {"name": "first", "node": "client", "addresses": ["10.0.1.1"]},
    {"name": "second", "node": "client", "addresses": ["10.0.2.1"]},
]


def flow(number, client, transport):
    port = {"mptcp": 5001, "tcp": 5002}[transport]
    return {"id": number, "client": client, "transport": transport, "port": port}


def result(number, size, **changes):
    """A flow that read `size` bytes in the 10 s that were measured, and as much before."""
    marks = {"bytes_at_marks": [size, 2 * size], "error": None, "subflows": 2}
    return {"id": number, **marks, "has_fallen_back": False, **changes}


def frames(scene="bottleneck", *, rival="reno", used="reno", second=5.5 * MB, changes=None):
    flows = [flow(0, "client", "mptcp"), flow(1, "rival1", "tcp"), flow(2, "rival2", "tcp")]
    found = [result(0, 10 * MB, **(changes or {})), result(1, 5 * MB), result(2, 4 * MB)]
    workload = {"name": "bulk", "scene": scene, "rival": rival, "flows": flows, "warm_up_s": 5.0,
                "measured_s": 10.0, "marks_s": [5.0, 15.0]}  # fmt: skip
    first, other = ("client", "10.0.1.1:40000", "lia"), ("client", "10.0.2.1:40001", "lia")
    samples = [
        (*first, 5.0, MB), (*first, 15.0, 7 * MB), (*first, 16.0, 9 * MB),
        (*other, 4.0, MB), (*other, 6.0, 2 * MB), (*other, 15.0, second),
        ("rival2", "10.0.4.1:40002", used, 15.0, 4 * MB),
        ("server", "10.0.8.2:5001", "lia", 15.0, 0),
    ]  # fmt: skip
    sockets = pd.DataFrame(
        samples, columns=["host", "local", "congestion_control", "t_s", "acked_bytes"]
    )
    sockets = sockets.assign(remote="10.0.8.2:5001", is_subflow=sockets["host"] == "client")
    return SimpleNamespace(
        run_id="r",
        run={"workload": workload, "mptcp": {"congestion_control": "lia"},
             "topology": {"paths": PATHS}},
        manifest={"workload": {"flows": found}},
        sockets=sockets,
    )  # fmt: skip


def test_share_is_what_was_read_between_the_marks():
    said = fairness.summary(frames())
    assert (said["mptcp_mbps"], said["tcp_mbps"]) == (8.0, pytest.approx(7.2))
    assert said["mptcp_share"] == pytest.approx(10 / 19)
    assert (said["tcp_first_mbps"], said["tcp_second_mbps"]) == (4.0, pytest.approx(3.2))
    assert said["of_best_path"] is said["congested_path_mbps"] is None


def test_paths_count_what_was_acknowledged_in_the_time_that_was_measured():
    said = fairness.summary(frames("two-bottlenecks"))
    assert (said["first_mbps"], said["second_mbps"]) == (pytest.approx(4.8), pytest.approx(3.2))
    assert said["congested_path_mbps"] == pytest.approx(3.2)


def test_lossy_paths_are_compared_with_tcp_on_the_better_one():
    assert fairness.summary(frames("loss-rtt"))["of_best_path"] == pytest.approx(2.0)


def test_other_runs_are_left_alone():
    other = SimpleNamespace(run={"workload": {"name": "bulk", "flows": []}})
    assert fairness.summary(other) == fairness.tables(other) == {}
    assert fairness.check_fairness(other) == []


def faults(**said):
    return [reason.message for reason in fairness.check_fairness(frames(**said))]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"changes": {"error": "was cut off: reset"}}, "flow 0 of client was cut off: reset"),
        ({"changes": {"bytes_at_marks": [5]}},
         "flow 0 of client carried no data in the time that was measured"),
        ({"changes": {"bytes_at_marks": [5, 5]}},
         "flow 0 of client carried no data in the time that was measured"),
        ({"changes": {"has_fallen_back": True}}, "flow 0 of client fell back to TCP"),
        ({"second": 1.5 * MB}, "path second carried no data in the time that was measured"),
        ({"changes": {"subflows": 1}}, "flow 0 of client had 1 of 2 subflows"),
        ({"used": "cubic"},
         "the TCP connections used another congestion control than reno: cubic"),
        ({"used": ""}, "the TCP connections used another congestion control than reno: "
         "no socket of theirs was sampled"),
    ],
)  # fmt: skip
def test_what_makes_a_scene_no_data_point(said, message):
    assert faults() == []
    assert faults(**said) == [message]


def write_scenes(folder):
    """Write a results directory in which coupled control is fair and Reno is not."""
    shares = {"reno": 0.66, "lia": 0.52}
    runs = [
        Run({"mode": scene, "tcp.congestion_control": cc}, repetition=n)
        for scene in ("bottleneck", "loss-rtt", "two-bottlenecks")
        for cc in shares
        for n in (1, 2)
    ]
    directory = write_results(folder, runs)
    for run in runs:
        cc, scene = run.varied["tcp.congestion_control"], run.varied["mode"]
        file = directory / run.dir / "derived" / "summary.json"
        numbers = {
            "scene": scene, "cc": cc, "rival": "reno", "mptcp_mbps": 9.0, "tcp_mbps": 6.0,
            "mptcp_share": shares[cc] + run.repetition / 500, "first_mbps": 7.0,
            "second_mbps": 2.0, "tcp_first_mbps": 8.0 if scene == "loss-rtt" else None,
            "tcp_second_mbps": 4.0, "of_best_path": 0.9 if scene == "loss-rtt" else None,
            "congested_path_mbps": 1.5 if scene == "two-bottlenecks" else None,
        }  # fmt: skip
        file.write_text(json.dumps({**json.loads(file.read_text()), **numbers}))
        table = pd.DataFrame({"run_id": "r", "path": ["first"], "goodput_mbps": [7.0]})
        table.to_parquet(file.with_name("path_rates.parquet"))
    return directory


def test_the_page_says_who_is_fair_and_draws_each_scene(tmp_path):
    directory = write_scenes(tmp_path / "results")
    page = write_overview(directory).read_text()
    assert "66.3% with reno (too much) and 52.3% with lia (fair) of the goodput" in page
    assert "90% with reno and 90% with lia of what TCP gets on the better one" in page
    assert "1.50 Mbit/s with reno and 1.50 Mbit/s with lia" in page
    drawn = {file.stem for file in (directory / "derived").glob("*.pdf")}
    assert drawn >= {"mptcp_share", "lossy_paths", "congested_path"}
    cells = pd.read_parquet(directory / "derived" / "cells.parquet")
    assert cells["mptcp_share"].round(4).tolist() == [0.523, 0.663] * 3
