# SPDX-License-Identifier: Apache-2.0
"""`testbed analyze` prints what was measured; `testbed report` makes it again."""

import csv
import io
import json
import os
import shutil

import pytest
from click.testing import CliRunner

from testbed.cli import main as cli
from testbed.cli.report import _places as places
from tests.unit.analysis_recorded import recorded_dir
from tests.unit.overview_synthetic import modes, write_results


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return run


@pytest.fixture
def results(tmp_path):
    runs = [*modes("tcp-wifi", mbps=2.0), *modes("mptcp-full", mbps=6.0)]
    return write_results(tmp_path / "r", runs)


@pytest.fixture
def mixed(tmp_path):
    runs = [*modes("tcp-wifi"), *modes("mptcp-full", verdict="invalid"),
            *modes("mptcp-single", status="not started")]  # fmt: skip
    return write_results(tmp_path / "m", runs)


def test_the_table_of_runs_for_a_person(call, results):
    code, out, err = call("analyze", results)

    assert (code, err) == (0, "")
    for part in ("mptcp-full", "6.00", "Mbit/s", "valid"):
        assert part in out


def test_what_is_not_valid_has_its_reason_and_exit_code_1(call, mixed):
    code, out, _ = call("analyze", mixed)

    assert code == 1
    assert "runs/mode=mptcp-full/rep01: invalid: for the test <b>invalid</b>" in out
    assert "not started" in out


def test_the_table_of_runs_as_csv(call, mixed):
    _, out, err = call("analyze", mixed, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert err == ""
    assert [row["mode"] for row in rows] == ["tcp-wifi", "mptcp-full", "mptcp-single"]
    assert rows[0]["bytes_wifi"] == "1250000"
    assert rows[1]["verdict_reasons"] == "for the test <b>invalid</b>"
    assert rows[2]["goodput_mbps"] == ""


def test_the_table_of_runs_as_json(call, mixed):
    _, out, _ = call("analyze", mixed, "--json")
    found = json.loads(out)

    assert found["table"] == "runs"
    assert [row["verdict"] for row in found["rows"]] == ["valid", "invalid", None]
    assert found["rows"][0]["bytes_wifi"] == 1250000
    assert found["rows"][2]["download_s"] is None


def test_a_derived_table_of_all_runs(call, results):
    _, out, _ = call("analyze", results, "--table", "handover_gaps", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert [row["mode"] for row in rows] == ["tcp-wifi"] * 3 + ["mptcp-full"] * 3
    assert list(rows[0])[:2] == ["run_dir", "mode"]
    _, out, _ = call("analyze", results, "--table", "handover_gaps", "--json")
    assert json.loads(out)["rows"][0]["t_s"] is None


def test_a_long_table_is_cut_for_a_person_only(call, results):
    code, out, err = call("analyze", results, "--table", "throughput")

    assert code == 0
    assert "the first 50 of 160 rows; --csv and --json print all" in err
    assert "throughput" in out
    assert call("analyze", results, "--table", "throughput", "--csv")[1].count("\n") == 161


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--table", "handover_gap"],
         'there is no table "handover_gap" (did you mean "handover_gaps"?); there are runs, '
         "bytes_per_path, delivered, goodput, handover_gaps, throughput"),
        (["--table", "xyz"], 'there is no table "xyz"; there are runs, bytes_per_path, '
         "delivered, goodput, handover_gaps, throughput"),
        (["--json", "--csv"], "--json, --csv and --junit exclude each other; give one of them"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(call, results, arguments, sentence):
    assert call("analyze", results, *arguments) == (2, "", f"testbed: {sentence}\n")


def test_tables_that_are_not_there_yet(call, tmp_path):
    results = write_results(tmp_path / "r", modes("tcp-3g", has_data=False))
    code, _, err = call("analyze", results, "--table", "goodput")

    assert code == 2
    assert err == (
        f"testbed: no run in {results} has been analysed; run 'testbed report {results}'\n"
    )


def test_a_folder_without_results(call, tmp_path):
    code, out, err = call("analyze", tmp_path)

    assert (code, out) == (2, "")
    assert "is neither a results directory nor a run directory" in err


@pytest.mark.parametrize("command", ["analyze", "report"])
def test_help_has_an_example(command):
    said = CliRunner().invoke(cli.testbed, [command, "--help"]).output
    assert f"Example: testbed {command} results/" in said


def test_report_makes_everything_again(call, tmp_path):
    folder = tmp_path / "results" / "stamp"
    for number in (1, 2):
        shutil.copytree(recorded_dir("download"), folder / f"runs/default/rep0{number}")
    (folder / "plan.json").write_text('{"runs": []}')
    code, out, err = call("report", folder, "--json")
    found = json.loads(out)

    assert found["reports"] == [str(folder / "report.html")]
    assert [run["run_dir"] for run in found["runs"]] == [
        str(folder / f"runs/default/rep0{number}") for number in (1, 2)
    ]
    assert code == (0 if all(run["verdict"] == "valid" for run in found["runs"]) else 1)
    assert "analysing run 1 of 2" in err
    assert (folder / "derived" / "timelines.pdf").exists()


def test_report_finds_the_results_in_a_folder(tmp_path):
    results = [write_results(tmp_path / name, modes("tcp-wifi", "tcp-3g")) for name in "ab"]

    assert places(tmp_path) == results
    assert places(results[0]) == results[:1]
    assert places(results[0] / "runs") == results[:1]
    assert places(run := results[0] / "runs/mode=tcp-3g/rep01") == [run]


def test_report_of_one_run_keeps_the_whole_up_to_date(call, tmp_path):
    folder = tmp_path / "stamp"
    run_dir = folder / "runs/default/rep01"
    shutil.copytree(recorded_dir("download"), run_dir)
    (folder / "plan.json").write_text('{"runs": []}')
    _, out, err = call("report", run_dir)

    assert err == ""
    assert out.splitlines()[0].split()[1] == str(run_dir)
    assert (run_dir / "report.html").exists() and (folder / "report.html").exists()


def test_of_a_folder_of_results_the_newest_is_read(call, tmp_path):
    for stamp, mode in (("20260101T1-a", "tcp-3g"), ("20260102T1-b", "tcp-wifi")):
        write_results(tmp_path / "results" / "offload" / stamp, modes(mode))

    for folder in (tmp_path / "results" / "offload", tmp_path / "results"):
        code, out, err = call("analyze", "--csv", folder)
        assert code == 0 and "tcp-wifi" in out and "tcp-3g" not in out
        assert err == f"the newest in {folder} is 20260102T1-b\n"


def test_a_folder_that_vanishes_or_is_closed_holds_no_results(tmp_path, monkeypatch):
    write_results(tmp_path / "a", modes("tcp-wifi"))
    closed = tmp_path / "closed"
    closed.mkdir()
    true_scan = os.scandir

    def scan(place):
        if str(place) == str(closed):
            raise FileNotFoundError(str(place))
        return true_scan(place)

    monkeypatch.setattr(os, "scandir", scan)
    assert places(tmp_path) == [tmp_path / "a"]
