# SPDX-License-Identifier: Apache-2.0
"""report.html is one file that needs nothing else, says only what was measured, and is escaped."""

import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

from analysis import overview
from analysis.answer import answer, cell_table
from analysis.overview import write_overview
from analysis.runs import read_results
from analysis.sweep import sweep_of
from testbed.errors import SpecError
from tests.unit.analysis_recorded import recorded_dir
from tests.unit.overview_synthetic import Run, modes, write_results

HOSTILE = "schema: 1\nname: '</pre><script>alert(1)</script>'\n"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A strict reader: every element is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [v for k, v in attrs if k in ("src", "href", "data", "action")]
        assert not [k for k, _ in attrs if k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read_page(folder):
    return Page((folder / "report.html").read_text())


def write_some(folder):
    runs = [
        *modes("tcp-wifi", mbps=2.0), *modes("tcp-3g", verdict="invalid", mbps=40.0),
        *modes("mptcp-full", mbps=6.0), *modes("mptcp-single", status="not started"),
    ]  # fmt: skip
    return write_results(folder, runs, "Is <i>this</i> & that so?", HOSTILE)


@pytest.fixture
def results(tmp_path):
    return write_some(tmp_path / "r")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Results with their page, only to be read."""
    folder = write_some(tmp_path_factory.mktemp("page") / "r")
    (folder / "derived").mkdir()
    (folder / "derived" / "stale.png").write_bytes(b"")
    assert write_overview(folder) == folder / "report.html"
    return folder


@pytest.fixture
def one_figure(monkeypatch):
    """Draw one figure only, where figures are not what the test is about."""
    every = overview.figures

    def first(*arguments):
        yield next(every(*arguments))

    monkeypatch.setattr(overview, "figures", first)


def test_the_page_is_one_file_without_scripts_or_references(written):
    page = read_page(written)

    assert page.tags[0] == "html"
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert page.references
    assert all(ref.startswith(("data:image/png;base64,", "#")) for ref in page.references)
    text = (written / "report.html").read_text()
    assert "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_what_users_wrote_is_escaped(written):
    page = read_page(written)
    words = " ".join(page.words)

    assert "<script>alert(1)</script>" in words
    assert "Is <i>this</i> & that so?" in words
    assert "for the test <b>invalid</b>" in words
    assert "asked = a<b" in words
    assert not {"i", "b"} & set(page.tags)


def test_the_page_has_every_run_the_environment_and_how_to_repeat_it(written):
    words = " ".join(read_page(written).words)

    for part in ("TCP, WiFi only, no. 1, seed 1", "not started", "kernel id", "7.3.4-0123",
                 "curl 7.88.1", "net.mptcp.enabled", "all nodes", "host cpus",
                 f"testbed report {written}", "All checks passed."):  # fmt: skip
        assert part in words, part


def test_what_is_known_of_how_to_repeat_it_is_said(written):
    words = " ".join(read_page(written).words)

    assert f"testbed run {written}/spec.yaml" in words
    assert f"testbed resume {written}" in words


def test_the_command_that_made_the_results_is_shown_if_the_plan_says_it(results, one_figure):
    plan = results / "plan.json"
    plan.write_text(plan.read_text()[:-1] + ', "command": ["testbed", "offload", "--out", "a b"]}')
    write_overview(results)

    assert "testbed offload --out 'a b'" in " ".join(read_page(results).words)


def test_figures_and_tables_are_files_too(written):
    names = {file.name for file in (written / "derived").iterdir()}

    stems = {"progress", "timelines", "goodput", "handover_gaps", "bytes_per_path"}
    assert {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")} <= names
    assert {"runs.parquet", "cells.parquet", "handover_gaps.parquet"} <= names
    assert "stale.png" not in names
    assert len(pd.read_parquet(written / "derived" / "runs.parquet")) == 4
    assert not list(written.glob(".*"))


def test_the_same_results_give_the_same_page(results, one_figure):
    first = write_overview(results).read_bytes()

    assert write_overview(results).read_bytes() == first


def test_a_failure_leaves_the_earlier_page(results, one_figure, monkeypatch):
    before = write_overview(results).read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(overview, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_overview(results)
    assert (results / "report.html").read_bytes() == before
    assert (results / "derived" / "progress.png").exists()
    assert not list(results.glob(".*"))


def test_results_without_a_run_that_started_have_a_page(tmp_path):
    results = write_results(tmp_path / "r", modes("tcp-3g", status="not started"))
    write_overview(results)
    words = " ".join(read_page(results).words)

    assert "Valid runs: 0 of 1 (1 never started)." in words
    assert "There is no figure" in words


def test_a_run_directory_has_a_page_and_keeps_its_tables(results, one_figure):
    run_dir = results / "runs" / "mode=tcp-wifi" / "rep01"
    before = {file.name for file in (run_dir / "derived").iterdir()}
    write_overview(run_dir)

    assert {file.name for file in (run_dir / "derived").iterdir()} == before
    assert "Valid runs: 1 of 1." in " ".join(read_page(run_dir).words)


def test_no_results(tmp_path):
    with pytest.raises(SpecError, match="neither"):
        write_overview(tmp_path)


def test_a_rebuild_starts_from_the_raw_data(tmp_path):
    run_dir = tmp_path / "r" / "runs" / "default" / "rep01"
    shutil.copytree(recorded_dir("download"), run_dir)
    stages = []
    write_overview(tmp_path / "r", rebuild=True, report=lambda stage, _: stages.append(stage))

    assert stages[0] == "analysing run 1 of 1"
    assert (run_dir / "derived" / "goodput.parquet").exists()
    assert (tmp_path / "r" / "derived" / "progress.png").exists()
    assert read_page(tmp_path / "r").tags


def test_a_run_that_cannot_be_read_keeps_no_other_from_its_report(tmp_path, one_figure):
    for number in (1, 2):
        shutil.copytree(recorded_dir("download"), tmp_path / f"r/runs/default/rep0{number}")
    (tmp_path / "r/runs/default/rep01/run.json").write_text("{}")
    write_overview(tmp_path / "r", rebuild=True)
    words = " ".join(read_page(tmp_path / "r").words)

    assert (tmp_path / "r/runs/default/rep02/derived/verdict.json").exists()
    assert "run.json cannot be read or names no path" in words


def sentences(tmp_path, runs):
    return " ".join(answer(sweep_of(read_results(write_results(tmp_path / "r", runs)))))


def test_the_answer_is_in_numbers_of_usable_runs(results):
    text = " ".join(answer(sweep_of(read_results(results))))

    assert text == (
        "Valid runs: 2 of 4 (1 invalid, 1 never started). "
        "Goodput is 6.00 Mbit/s with “MPTCP, all paths”, 3.0 times the 2.00 Mbit/s with "
        "“TCP, WiFi only”. 2 of 2 usable runs finished, in 10.0 s with each of 2 cells. The "
        "longest handover gap is 0.4 s with each of 2 cells. Over WiFi came 25% of the bytes with "
        "each of 2 cells."
    )


def test_numbers_of_the_answer_have_their_cells(tmp_path):
    results = write_results(tmp_path / "r", modes("tcp-wifi", "mptcp-full"))
    for number, file in enumerate(sorted(results.rglob("summary.json")), 1):
        changed = {"handover_gap_max_s": float(number), "download_s": 10.0 * number}
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    text = " ".join(answer(sweep_of(read_results(results))))

    assert "in 10.0 s with “MPTCP, all paths” and 20.0 s with “TCP, WiFi only”." in text
    assert "gap is 1.00 s with “MPTCP, all paths” and 2.00 s with “TCP, WiFi only”." in text


def test_the_answer_of_one_run(tmp_path):
    assert sentences(tmp_path, modes("mptcp-full")) == (
        "Valid runs: 1 of 1. Goodput is 4.00 Mbit/s with “MPTCP, all paths”. 1 of 1 usable run "
        "finished, in 10.0 s with “MPTCP, all paths”. The longest handover gap is 0.4 s with "
        "“MPTCP, all paths”. Over WiFi came 25% of the bytes with “MPTCP, all paths”."
    )


def test_invalid_runs_are_no_answer(tmp_path):
    assert sentences(tmp_path, modes("mptcp-full", verdict="invalid")) == (
        "Valid runs: 0 of 1 (1 invalid)."
    )


def test_numbers_of_a_cell_are_medians_of_its_usable_runs(tmp_path):
    runs = [Run(repetition=n, mbps=mbps) for n, mbps in ((1, 1.0), (2, 2.0), (3, 9.0))]
    runs.append(Run(repetition=4, mbps=99.0, verdict="invalid", has_ended=False))
    [row] = cell_table(sweep_of(read_results(write_results(tmp_path / "r", runs)))).to_dict(
        "records"
    )

    assert (row["runs"], row["valid"], row["finished"]) == (4, 3, 3)
    assert (row["goodput_mbps"], row["goodput_min_mbps"], row["goodput_max_mbps"]) == (2, 1, 9)
    assert row["times_real_time"] == pytest.approx(5.0)


def test_more_runs_than_a_page_can_hold_are_named(tmp_path, one_figure, monkeypatch):
    monkeypatch.setattr("analysis.page.MAX_RUN_FIGURES", 1)
    results = write_results(tmp_path / "r", modes("tcp-wifi", "tcp-3g"))
    write_overview(results)
    text = (results / "report.html").read_text()

    assert len(re.findall(r'alt="Throughput of ', text)) == 1
    assert "runs/mode=tcp-3g/rep01/derived/throughput.png" in text
