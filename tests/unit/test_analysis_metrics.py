# SPDX-License-Identifier: Apache-2.0
"""Throughput, goodput, gaps and capacities come out as the invented ride was made."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import metrics, ride
from analysis.load import load_run
from analysis.tables import KEYS, Frames
from testbed.errors import RunInvalid
from tests.unit.analysis_recorded import recorded, recorded_dir
from tests.unit.analysis_synthetic import IP_BYTES, PAYLOAD, Ride, write_ride

RIDE = Ride()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return load_run(write_ride(tmp_path_factory.mktemp("ride") / "rep01", RIDE))


def test_every_table_begins_with_the_same_columns(frames: Frames) -> None:
    for name in ("events", "subflows", "data", "delivered", "sockets", "connections",
                 "counters", "links", "captures"):  # fmt: skip
        assert list(getattr(frames, name).columns[:5]) == KEYS, name
    assert frames.problems == []
    assert {part.run_id for part in frames.traffic} == {"rep01"}


def test_subflows_know_their_connection_and_path(frames: Frames) -> None:
    rows = frames.subflows.to_dict("records")

    assert [(row["path"], row["kind"], row["connection"]) for row in rows] == [
        ("wifi", "initial", 0),
        ("3g", "join", 0),
    ]
    assert [row["handshake_rtt_ms"] for row in rows] == pytest.approx([20.0, 150.0])
    assert rows[0]["remote"] == "10.0.9.2:3128"
    assert rows[0]["token_remote"] == rows[1]["token_remote"] != ""


def test_throughput_is_the_rate_of_the_link(frames: Frames) -> None:
    table = metrics.throughput(frames.traffic, RIDE.end_s, bin_s=0.5)
    wifi = table[(table["path"] == "wifi") & (table["direction"] == "rx")].set_index("t_s")

    assert wifi.loc[3.5, "throughput_mbps"] == pytest.approx(8.0, rel=0.01)
    assert wifi.loc[6.0, "throughput_mbps"] == 0
    received = frames.received("wifi")
    assert received is not None
    assert wifi["ip_bytes"].sum() == received.ip_bytes.sum() > 0


def test_the_steady_goodput_leaves_out_the_first_quarter() -> None:
    """In which windows still grow: here nothing came from 10 s to 15 s, and then 1 MB/s."""
    times = np.arange(15.5, 30.0)
    delivered = pd.DataFrame({"t_s": times, "bytes": 1_000_000})

    assert metrics.steady_goodput_mbps(delivered, 10.0, 30.0) == pytest.approx(8.0)
    assert metrics.steady_goodput_mbps(delivered, 10.0, 10.0) == 0.0


def test_goodput_counts_the_file_once(frames: Frames) -> None:
    table = metrics.goodput(frames.delivered, RIDE.end_s)

    assert table["bytes"].sum() == frames.run["workload"]["size_bytes"]
    assert (table["goodput_mbps"] * 0.5e6 / 8).sum() == pytest.approx(table["bytes"].sum())


def test_bytes_per_path(frames: Frames) -> None:
    table = metrics.bytes_per_path(frames).set_index("path")

    assert table["new_bytes"].sum() == frames.run["workload"]["size_bytes"]
    assert table.loc["wifi", "payload_bytes"] % PAYLOAD == 0
    assert (table["duplicate_bytes"] == 0).all()


def test_gaps_are_those_of_the_invented_loss(frames: Frames) -> None:
    """What a station's end lost comes recovery_s later; 3G had some 0.1 s of older data."""
    coverages = ride.coverages(frames.run)
    gaps = metrics.handover_gaps(frames.data, frames.delivered, coverages)

    lost = gaps[gaps["change"] == "lost"]
    assert lost["t_s"].tolist() == [end for _, end in RIDE.stations]
    assert lost["gap_delivered_s"].between(RIDE.recovery_s - 0.1, RIDE.recovery_s + 0.1).all()
    assert (gaps["gap_received_s"] < 0.1).all()
    assert (
        gaps[gaps["change"] == "overall"]["gap_delivered_s"].item() == gaps["gap_delivered_s"].max()
    )


def test_longest_gap_begins_in_the_window() -> None:
    times = np.array([0.0, 1.0, 5.0, 6.0, 16.0])

    assert metrics.longest_gap(times, 0, 1) == metrics.Gap(0.0, 1.0)
    assert metrics.longest_gap(times, 0, 4) == metrics.Gap(1.0, 4.0)
    assert metrics.longest_gap(times, 0, 7) == metrics.Gap(6.0, 10.0)
    assert metrics.longest_gap(times, 20, 30) == metrics.Gap()
    assert metrics.longest_gap(times[:1], 0, 30) == metrics.Gap()


def test_socket_metrics_of_the_recorded_download() -> None:
    frames = recorded("download")
    rtt = metrics.round_trip_times(frames.sockets)
    again = metrics.retransmissions(frames.sockets)

    sender = again[(again["host"] == "proxy") & (again["sent_bytes"] > 0)]
    assert set(sender["path"]) == {"wifi", "3g"}
    assert (sender["retransmitted_bytes"] > 0).all()
    assert sender["retransmitted_fraction"].between(0.01, 0.5).all()
    # 60 kB of queue at 8 and at 2 Mbit/s.
    worst = rtt[rtt["host"] == "proxy"].groupby("path", observed=True)["rtt_ms"].max()
    assert 30 < worst["wifi"] < 80 < worst["3g"] < 260


def test_the_download_ends_with_the_last_byte_not_with_the_program(frames: Frames) -> None:
    last_s = float(frames.delivered["t_s"].max())
    asked = frames.manifest["workload"]
    incomplete = {**asked, "size_bytes": asked["size_bytes"] + 1}

    for workload, span in ((asked, (0.1, last_s)), (None, (0.1, last_s)),
                           (incomplete, (0.1, asked["ended_s"]))):  # fmt: skip
        changed = dataclasses.replace(frames, manifest={**frames.manifest, "workload": workload})
        assert metrics.download_span(changed) == pytest.approx(span)
    assert metrics.run_end_s(frames) == RIDE.end_s


def test_stalls_and_the_use_of_coverage(frames: Frames) -> None:
    *_, stall = metrics.stalls(frames.delivered, least_s=0.3)
    use = metrics.coverage_use(frames.data, ride.coverages(frames.run), end_s=9.0)

    assert stall.start_s == pytest.approx(10.5, abs=0.1)
    assert use["station"].tolist() == [1, 2]
    assert use["covered_s"].tolist() == [3.0, 1.0]
    on_wifi = metrics.bytes_per_path(frames).set_index("path").loc["wifi", "new_bytes"]
    assert use["new_bytes"].sum() == on_wifi


def test_delivery_is_what_the_kernel_counted() -> None:
    """The receiver's own count of bytes in order (mptcp_info) against ours from the packets.

    A sample is taken some time after the packets before it: what came in between is allowed.
    """
    frames = recorded("download")
    samples = frames.connections[frames.connections["host"] == "laptop"]
    times, total = frames.delivered["t_s"].to_numpy(), frames.delivered["bytes"].cumsum().to_numpy()

    assert len(samples) > 10
    for t_s, counted in zip(samples["t_s"], samples["bytes_received"], strict=True):
        at = [
            int(total[n - 1]) if (n := np.searchsorted(times, t_s + d)) else 0 for d in (-1e-3, 0)
        ]
        assert at[0] <= counted <= at[1]


def test_capacity_of_a_rate_and_of_none() -> None:
    edges = np.array([0.0, 1.0, 3.0])

    assert ride.capacity_bytes({"rate_bps": 8e6}, edges).tolist() == [1e6, 2e6]
    assert ride.capacity_bytes({"rate_bps": None}, edges).tolist() == [np.inf, np.inf]


def test_capacity_of_a_trace_that_repeats() -> None:
    """Opportunities at 0, 100 and 900 ms of every second, read from 0.5 s on."""
    trace = {"opportunities_ms": [0, 100, 900], "period_ms": 1000, "offset_s": 0.5}

    assert ride.opportunities_s(trace, 1.5).tolist() == pytest.approx([0.4, 0.5, 0.6, 1.4, 1.5])
    counts = ride.capacity_bytes({"trace": trace}, np.array([0.0, 0.45, 1.0, 2.0])) / IP_BYTES
    assert counts.tolist() == [1, 2, 3]


def test_coverage() -> None:
    run = {"ride": {"stations": [[10, 20], [0, 5]]}}
    wifi = ride.coverage_of(run, "wifi")

    assert wifi.changes() == [("lost", 5.0), ("gained", 10.0), ("lost", 20.0)]
    assert wifi.seconds_within(4, 12) == 3
    assert ride.coverage_of(run, "3g").seconds_within(4, 12) == 8
    assert ride.coverages({}) == []


@pytest.mark.parametrize(("name", "content"), [
    ("run.json", None), ("manifest.json", None), ("run.json", "{"), ("run.json", "[]"),
    ("run.json", '{"topology": {"paths": []}}'),
])  # fmt: skip
def test_a_directory_that_describes_no_run(tmp_path: Path, name: str, content: str | None) -> None:
    for file in ("run.json", "manifest.json"):
        (tmp_path / file).write_text((recorded_dir("download") / file).read_text())
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)

    with pytest.raises(RunInvalid, match=name):
        load_run(tmp_path)


def test_a_run_that_failed_early_is_read(tmp_path: Path) -> None:
    directory = write_ride(tmp_path / "run", Ride(end_s=3.0, stations=((0.5, 2.0),)))
    (directory / "manifest.json").write_text('{"status": "failed", "error": "no kernel"}')

    assert metrics.download_span(load_run(directory))[1] > 0


def test_two_paths_may_share_an_interface(tmp_path: Path) -> None:
    """One radio that visits two access points, with another address at each."""
    directory = write_ride(tmp_path / "run", Ride(end_s=3.0, stations=((0.5, 2.0),)))
    run = json.loads((directory / "run.json").read_text())
    for place in (*run["topology"]["paths"], *run["captures"]):
        place["interface"] = "wlan0"
    (directory / "run.json").write_text(json.dumps(run))
    frames = load_run(directory)

    assert frames.captures["foreign_packets"].tolist() == [0, 0]
    assert set(frames.subflows["path"]) == {"wifi", "3g"}


def test_what_is_missing_or_malformed_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    directory = write_ride(tmp_path / "run", Ride(end_s=3.0, stations=((0.5, 2.0),)))
    (directory / "raw" / "laptop.3g.pcap").unlink()
    (directory / "raw" / "laptop.wifi.pcap").write_bytes(b"")
    (directory / "raw" / "laptop.nstat.start.txt").write_text("Tcp: A\n")
    (directory / "raw" / "laptop.ss.bin").write_bytes(bytes(12) + b"\1\0\0\0" + b"\0")
    (directory / "raw" / "links.end.json").write_text("{")

    frames = load_run(directory)

    assert len(frames.problems) == 5
    assert all(isinstance(getattr(frames, n), pd.DataFrame) for n in ("data", "sockets"))
    assert frames.traffic == []
