# SPDX-License-Identifier: Apache-2.0
"""Every run that was planned is in the table, whatever became of it, and in the right cell."""

import json
import shutil

import pandas as pd
import pytest

from analysis.cells import cell_label, cells_of, numeric_key, quantity, series_of
from analysis.runs import read_results, results_dir_of
from analysis.sweep import brief, counted, numbers, sweep_of
from testbed.errors import SpecError
from tests.unit.overview_synthetic import Run, modes, write_results

MODES = ("tcp-wifi", "mptcp-full", "mptcp-backup")


def test_a_row_per_run_whatever_became_of_it(tmp_path):
    runs = [
        *modes("mptcp-full"),
        *modes("tcp-wifi", verdict="invalid", has_ended=False),
        *modes("tcp-3g", status="failed", has_data=False),
        *modes("tcp-handover", status="interrupted"),
        *modes("mptcp-backup", status="unfinished"),
        *modes("mptcp-single", status="not started"),
    ]
    table = read_results(write_results(tmp_path / "r", runs)).table

    assert table["run_dir"].tolist() == [run.dir for run in runs]
    assert table["status"].tolist() == [
        "complete", "complete", "failed", "interrupted", "unfinished", "not started"
    ]  # fmt: skip
    assert table["verdict"].tolist()[:5] == ["valid", *["invalid"] * 4]
    assert pd.isna(table["verdict"].iloc[5])
    assert table["verdict_reasons"].iloc[2] == ["the target died"]
    assert "no manifest" in table["verdict_reasons"].iloc[4][0]
    assert table["goodput_mbps"].tolist()[0] == 4.0
    assert table[["goodput_mbps", "bytes_wifi"]].iloc[5].isna().all()
    assert table["bytes_wifi"].iloc[0] == 1_250_000


def test_seeds_of_64_bits_stay_exact(tmp_path):
    results = write_results(tmp_path / "r", modes("mptcp-full"))
    manifest = next(results.rglob("manifest.json"))
    content = json.loads(manifest.read_text()) | {"seed": 2**64 - 1}
    manifest.write_text(json.dumps(content))

    assert read_results(results).table["seed"].tolist() == [2**64 - 1]


def test_one_run_directory_is_one_row(tmp_path):
    results = write_results(tmp_path / "r", modes(*MODES))
    run_dir = results / "runs" / "mode=tcp-wifi" / "rep01"
    one = read_results(run_dir)

    assert one.is_one_run and len(one.table) == 1
    assert one.table["mode"].tolist() == ["tcp-wifi"]
    assert results_dir_of(run_dir) == results


def test_a_directory_of_an_earlier_version_is_read_too(tmp_path):
    """Its plan.json holds whole plans instead of folders."""
    results = write_results(tmp_path / "r", [Run(varied={})])
    (results / "plan.json").write_text(json.dumps({"runs": [{"experiment": "offload"}]}))

    assert read_results(results).table["verdict"].tolist() == ["valid"]


def test_what_is_no_results_directory(tmp_path):
    with pytest.raises(SpecError, match="neither a results directory nor a run directory"):
        read_results(tmp_path)


def test_a_run_whose_plan_cannot_be_read_is_invalid(tmp_path):
    results = write_results(tmp_path / "r", modes("mptcp-full"))
    next(results.rglob("run.json")).write_text("{")
    [record] = read_results(results).records

    assert record.level == "invalid"
    assert record.reasons == ["run.json cannot be read or names no path"]


def test_a_run_that_was_not_analysed_says_so(tmp_path):
    results = write_results(tmp_path / "r", modes("mptcp-full"))
    shutil.rmtree(next(results.rglob("derived")))
    [record] = read_results(results).records

    assert record.level == "invalid"
    assert record.reasons == ["the run has not been analysed; use 'testbed report'"]


def test_tables_of_all_runs_together(tmp_path):
    results = read_results(
        write_results(tmp_path / "r", [*modes(*MODES), *modes("tcp-3g", has_data=False)])
    )
    gaps = results.gather("handover_gaps")

    assert results.table_names() == [
        "bytes_per_path", "delivered", "goodput", "handover_gaps", "throughput"
    ]  # fmt: skip
    assert gaps.columns[0] == "run_dir"
    assert gaps.groupby("run_dir").size().tolist() == [3, 3, 3]
    assert list(results.gather("nosuch")) == ["run_dir"]


def test_cells_are_in_the_order_of_modes_and_of_numbers(tmp_path):
    runs = [
        Run(varied={"mode": mode, "links.3g.queue": queue}, repetition=number)
        for queue in ("2 MB", "500 KB", "50 KB")
        for mode in ("mptcp-full", "tcp-wifi")
        for number in (1, 2)
    ]
    sweep = sweep_of(read_results(write_results(tmp_path / "r", runs)))
    values = [tuple(cell.values.values()) for cell in sweep.cells]

    assert values == [
        (mode, queue)
        for mode in ("tcp-wifi", "mptcp-full")
        for queue in ("50 KB", "500 KB", "2 MB")
    ]
    assert all(len(cell.runs) == 2 for cell in sweep.cells)
    assert sweep.cells[0].label == "TCP, WiFi only, 3g queue 50 KB"
    assert numeric_key(sweep.cells) == "links.3g.queue"
    assert [label for label, _, _ in series_of(sweep.cells, "links.3g.queue")] == [
        "TCP, WiFi only", "MPTCP, all paths"
    ]  # fmt: skip


def with_other_paths(results, mode, names):
    """Give a run other paths, as a station with more NICs has."""
    [place] = results.glob(f"runs/mode={mode}/*/run.json")
    run = json.loads(place.read_text())
    model = run["topology"]["paths"][0]
    run["topology"]["paths"] = [{**model, "name": name} for name in names]
    run |= {"coverage": {}, "ride": {}}
    place.write_text(json.dumps(run))


def test_paths_that_only_some_runs_have_are_known(tmp_path):
    results = write_results(tmp_path / "r", modes("tcp-wifi", "mptcp-full"))
    with_other_paths(results, "mptcp-full", ["near", "far"])
    facts = sweep_of(read_results(results)).facts

    assert facts.paths == ("3g", "wifi", "near", "far")
    assert facts.subject == "download"


def test_runs_that_differ_in_their_seed_alone_are_one_cell(tmp_path):
    runs = [Run(varied={"seed": str(n)}, repetition=n) for n in (1, 2, 3)]
    sweep = sweep_of(read_results(write_results(tmp_path / "r", runs)))

    assert [len(cell.runs) for cell in sweep.cells] == [3]


def test_every_run_is_in_one_cell(tmp_path):
    table = read_results(write_results(tmp_path / "r", modes(*MODES))).table
    cells = cells_of(table, ["mode"])

    assert sorted(run for cell in cells for run in cell.runs["run_dir"]) == sorted(table["run_dir"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("500 KB", (500e3, "B")), ("2 Mbit/s", (2e6, "bit/s")), ("75 ms", (0.075, "s")),
     ("3", (3.0, "")), ("cubic", None), ("3 apples", None)],
)  # fmt: skip
def test_quantities(text, value):
    assert quantity(text) == value


def test_labels():
    assert cell_label({"mode": "nosuch"}) == "nosuch"
    assert cell_label({"wifi.scans.period": "None"}) == "no scans period"
    assert cell_label({"mptcp.congestion_control": "bbr"}) == "mptcp congestion control bbr"
    assert counted(1, "run") == "1 run" and counted(0, "run") == "0 runs"
    assert numbers([3, 1, 2, 7]) == "1-3, 7"
    assert numbers([pd.NA]) == "?"
    assert [brief(x) for x in (0, 0.00002, 0.0123, 0.5, 2, 20.26, 123.4, 2e6)] == [
        "0", "0.00002", "0.012", "0.5", "2.00", "20.3", "123", "2000000"
    ]  # fmt: skip


def test_what_is_not_valid_is_named(tmp_path):
    runs = [
        *modes("mptcp-full"), *modes("tcp-wifi", verdict="suspect"),
        *[Run(varied={"mode": "tcp-3g"}, repetition=n, verdict="invalid") for n in range(1, 6)],
        *modes("tcp-handover", status="interrupted"), *modes("mptcp-single", status="not started"),
    ]  # fmt: skip
    sweep = sweep_of(read_results(write_results(tmp_path / "r", runs)))
    text = " ".join(sweep.caveats())

    assert sweep.counts() == (
        "Valid runs: 1 of 9 (5 invalid, 1 suspect, 1 not complete, 1 never started)."
    )
    assert "TCP, 3G only no. 1 (for the test <b>invalid</b>)" in text
    assert "; and 2 more" in text
    assert "TCP, new connection on handover no. 1 (the target died)" in text
    assert "Never started: MPTCP, one path at a time no. 1" in text
