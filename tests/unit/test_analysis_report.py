# SPDX-License-Identifier: Apache-2.0
"""A report is complete, says where it comes from, and is the same every time."""

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from analysis import metrics, plots, report, style
from analysis.load import load_run
from analysis.report import write_report
from analysis.tables import Frames
from tests.unit.analysis_recorded import recorded_dir
from tests.unit.analysis_synthetic import Ride, write_ride


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_ride(tmp_path_factory.mktemp("ride") / "run", Ride())
    write_report(run)
    return run


@pytest.fixture(scope="module")
def frames(directory: Path) -> Frames:
    return load_run(directory)


def test_a_report_has_tables_figures_verdict_and_summary(directory: Path) -> None:
    names = {file.name for file in (directory / "derived").iterdir()}

    assert {"throughput.png", "throughput.pdf", "verdict.json", "summary.json"} <= names
    assert {"packets.parquet", "subflows.parquet", "goodput.parquet"} <= names
    assert [file.name for file in directory.iterdir() if file.name.startswith(".")] == []


def test_the_summary(directory: Path) -> None:
    summary = json.loads((directory / "derived" / "summary.json").read_text())
    size = json.loads((directory / "run.json").read_text())["workload"]["size_bytes"]

    assert summary["verdict"] == "valid"
    assert summary["verdict_reasons"] == []
    assert sum(summary["bytes_per_path"].values()) == size
    assert 11.5 < summary["download_s"] < 11.8
    assert summary["goodput_mbps"] == pytest.approx(size * 8e-6 / summary["download_s"])
    assert 0.3 < summary["handover_gap_max_s"] < 0.5
    assert (summary["virtual_s"], summary["wall_s"]) == (12.0, 2.5)


def test_every_derived_file_names_its_inputs_and_its_code(directory: Path) -> None:
    for file in (directory / "derived").iterdir():
        if file.suffix == ".json":
            stamp = json.loads(file.read_text())
        elif file.suffix == ".parquet":
            stamp = pd.read_parquet(file).attrs
        else:
            assert b"raw/laptop.3g.pcap" in file.read_bytes(), file.name
            continue
        assert "raw/laptop.3g.pcap" in stamp["inputs"], file.name
        assert stamp["code"].startswith("mptcp-testbed "), file.name


def test_the_same_run_gives_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in (directory / "derived").iterdir()}
    (directory / "derived" / "stale.txt").write_text("of an earlier version")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "pdf.compression": 0}):
        write_report(directory)

    after = {file.name: file.read_bytes() for file in (directory / "derived").iterdir()}
    assert after == before


def test_a_failure_leaves_the_earlier_report(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(report, "write_figure", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(directory)

    assert (directory / "derived" / "throughput.png").exists()
    assert not list(directory.glob(".derived-*"))


def test_a_run_that_left_nothing_has_a_report_that_says_so(tmp_path: Path) -> None:
    shutil.copytree(recorded_dir("fallback"), tmp_path / "run")
    for file in (tmp_path / "run").glob("raw/*"):
        if "nstat" not in file.name:
            file.unlink()
    result = write_report(tmp_path / "run")

    assert result.verdict.status == result.summary["verdict"] == "invalid"
    assert result.summary["handover_gap_max_s"] is None
    verdict = json.loads((result.directory / "verdict.json").read_text())
    counters = [reason["evidence"].get("counter") for reason in verdict["reasons"]]
    assert "MPTcpExtMPCapableFallbackSYNACK" in counters


def test_the_figure_draws_what_was_measured(frames: Frames) -> None:
    figure = plots.throughput_figure(frames, bin_s=0.5, warning="suspect: for the test")
    [axes] = figure.axes

    assert axes.get_xlabel() == "time (s)"
    assert axes.get_ylabel() == "throughput, IP bytes (Mbit/s)"
    assert axes.get_xlim() == (0, metrics.download_span(frames)[1])
    table = metrics.throughput(frames.traffic, 12.0, 0.5).query("direction == 'rx'")
    top = table.groupby("t_s")["throughput_mbps"].sum().max()
    highest = max(path.vertices[:, 1].max() for c in axes.collections for path in c.get_paths())
    assert highest == pytest.approx(top)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["WiFi coverage, station n", "over WiFi", "over 3G", "offered by 3G"]
    texts = " ".join(text.get_text() for text in figure.texts)
    for part in ("seed 1", "n = 1", "MB", "backend lab", "Linux 7.3.4-lab", "uncoupled",
                 "synthetic-3g", "suspect: for the test"):  # fmt: skip
        assert part in texts


def test_offered_capacity_covers_what_was_received(frames: Frames) -> None:
    [axes] = plots.throughput_figure(frames, bin_s=1.0).axes
    [line] = axes.get_lines()
    table = metrics.throughput(frames.traffic, 12.0, 1.0)
    cell = table[(table["path"] == "3g") & (table["direction"] == "rx")]["throughput_mbps"]

    assert (cell.to_numpy() <= np.asarray(line.get_ydata())[:-1] + 2 * 1500 * 8e-6).all()


def test_paths_have_one_style_each() -> None:
    assert len({look.colour for look in style.PATHS.values()}) >= len(style.PATHS) - 1
    assert style.path_style("other").label == "other"
