# SPDX-License-Identifier: Apache-2.0
"""The folders of results, and files that are complete or absent."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed import rundir
from testbed.errors import SpecError


class Noon(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 12, 0, 0, tzinfo=tz)


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def noon(monkeypatch):
    monkeypatch.setattr(rundir, "datetime", Noon)


def test_folder_is_named_after_time_and_plan(tmp_path, noon):
    folder = rundir.new_results_dir(tmp_path / "results", "offload", "0123abcd")
    assert folder == tmp_path / "results/offload/20260102T120000Z-0123abcd"
    assert folder.is_dir()


def test_time_is_utc(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    before = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = rundir.new_results_dir(tmp_path, "offload", "x")
    assert re.fullmatch(r"\d{8}T\d{6}Z-x", folder.name)
    assert before <= folder.name < datetime.now(UTC).strftime("%Y%m%dT%H%M%S~")


def test_folders_of_the_same_second_are_numbered(tmp_path, noon):
    found = [rundir.new_results_dir(tmp_path, "offload", "x").name for _ in range(3)]
    assert found == ["20260102T120000Z-x", "20260102T120000Z-x-1", "20260102T120000Z-x-2"]


def test_hundred_folders_of_one_second_are_enough(tmp_path, noon):
    for _ in range(100):
        rundir.new_results_dir(tmp_path, "offload", "x")
    with pytest.raises(SpecError, match="already has a hundred results of this second$"):
        rundir.new_results_dir(tmp_path, "offload", "x")


def test_folder_that_cannot_be_made(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(SpecError) as caught:
        rundir.new_results_dir(file, "offload", "x")
    assert str(caught.value) == f"results cannot be written to {file}: not a directory"


def test_run_folder_is_named_after_cell_and_repetition():
    assert rundir.run_folder("default", 1) == "runs/default/rep01"
    assert rundir.run_folder("mode=tcp-3g", 12) == "runs/mode=tcp-3g/rep12"
    assert rundir.run_folder("default", 100) == "runs/default/rep100"


def test_what_was_written_is_read(tmp_path):
    rundir.write_json(tmp_path / "run.json", {"spans": [(0, 1.5)], "mode": None})
    assert rundir.read_json(tmp_path / "run.json") == {"spans": [[0, 1.5]], "mode": None}


def test_file_is_replaced(tmp_path):
    path = tmp_path / "manifest.json"
    rundir.write_json(path, {"b": 1, "a": "ä"})
    rundir.write_json(path, {"b": 2, "a": "ä"})
    assert json.loads(path.read_text()) == {"a": "ä", "b": 2}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    assert names(tmp_path) == ["manifest.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "manifest.json"
    path.write_text("old")
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(OSError, match="No space left"):
        rundir.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["manifest.json"]


def test_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    path = tmp_path / "manifest.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rundir.write_atomically(path, "new")
    assert (path.read_text(), names(tmp_path)) == ("old", ["manifest.json"])


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        rundir.write_json(path, {"path": tmp_path})
    assert path.read_text() == "old"
