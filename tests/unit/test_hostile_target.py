# SPDX-License-Identifier: Apache-2.0
"""A machine that says or leaves what no runner of ours would: one sentence, and nothing more."""

import json
from collections import namedtuple

import pytest

from testbed.attempt import Attempt
from testbed.backends.progress_lines import MAX_LINE_BYTES, ProgressLines
from testbed.backends.remote import connection, fetch, session
from testbed.backends.remote.address import SshTarget
from testbed.backends.remote.connection import Connection
from testbed.backends.remote.patience import Patience
from testbed.backends.remote.session import Session
from testbed.cli.printing import printable
from testbed.errors import BackendError

HASH = "0" * 64
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "name", ["raw/\x1b]0;x\x07", "raw/a\nb", "raw/\u202eb", "raw/a\0b", "raw/../x", "", "x"]
)
def test_a_file_with_such_a_name_is_not_part_of_a_run(tmp_path, name):
    with pytest.raises(BackendError, match="which is not part of a run"):
        fetch.Fetch(tmp_path, {name: {"size": 1, "sha256": HASH}}, "vm")


@pytest.mark.parametrize(
    "said", [None, 7, {}, {"size": 1}, {"size": -1, "sha256": HASH}, {"size": "1", "sha256": HASH}]
)
def test_a_file_without_a_size_and_a_hash_is_refused(tmp_path, said):
    with pytest.raises(BackendError, match="does not say what size"):
        fetch.Fetch(tmp_path, {"raw/a": said}, "vm")


def test_more_than_the_disk_holds_is_not_even_begun(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda folder: usage(10**9))
    fetch.Fetch(tmp_path, {"raw/a": {"size": 8 * 10**8, "sha256": HASH}}, "vm")
    with pytest.raises(BackendError, match="left 1.6 GB on vm, and the disk of .* has 1.0 GB free"):
        both = {f"raw/{name}": {"size": 8 * 10**8, "sha256": HASH} for name in "ab"}
        fetch.Fetch(tmp_path, both, "vm")


@pytest.mark.parametrize(
    "line",
    [
        "7",
        "[]",
        "{}",
        '{"stage": 1}',
        '{"stage": "measure"}',
        '{"stage": "measure", "t_s": "1"}',
        '{"stage": "measure", "t_s": NaN}',
        '{"error": 7}',
        DEEP,
    ],
)
def test_a_line_that_is_no_report_is_refused(line):
    heard = []
    with pytest.raises(BackendError, match="which is no report") as caught:
        ProgressLines(heard.append).write(line.encode() + b"\n")
    assert heard == []
    assert len(str(caught.value)) < 300


def test_a_line_without_an_end_is_not_waited_for():
    lines = ProgressLines(lambda report: None)
    with pytest.raises(BackendError, match="a line without an end"):
        for _ in range(MAX_LINE_BYTES // 65536 + 1):
            lines.write(b"x" * 65536)


class Wire:
    """A connection whose machine says what a test wants."""

    said = b""

    def __init__(self, *arguments):
        pass

    def run(self, argv, **rest):
        return 0, self.said, ""

    def stream(self, argv, **rest):
        yield self.said

    def close(self):
        pass


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(session, "Connection", Wire)

    def make(said):
        monkeypatch.setattr(Wire, "said", said.encode())
        return Session(SshTarget("vm", user="root"), Patience(silence_s=0.0))

    return make


@pytest.mark.parametrize(
    "said", ["7", DEEP, "{}", '{"files": 7}', '{"files": {"x": 1}}', '{"files": {"raw/a": 1}}']
)
def test_a_manifest_that_is_none(machine, tmp_path, said):
    with pytest.raises(BackendError):
        machine(said).fetch(tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        '{"ended": 7}\n',
        '{"ended": {}}\n',
        '{"ended": {"status": "0"}}\n',
        '{"report": 7, "offset": 1}\n',
        '{"report": "{}", "offset": 1}\n',
        "7\n",
        "x" * (MAX_LINE_BYTES + 1),
    ],
)
def test_a_report_that_is_none(machine, said):
    with pytest.raises(BackendError):
        machine(said).follow(lambda report: None)


def test_an_answer_that_does_not_end_does_not_fill_our_memory():
    endless = Connection.__new__(Connection)
    endless._target = SshTarget("vm")
    received = []

    def receive(size):
        received.append(size)
        return b"x" * size

    with pytest.raises(BackendError, match="vm gave an answer that does not end"):
        endless._whole(receive)
    assert sum(received) <= connection.MOST_BYTES + 2 * connection.CHUNK_BYTES


PLAN = {"experiment": "x", "seed": 1}


@pytest.mark.parametrize(
    "said", ["[]", "7", "{", DEEP, '{"measured": 7, "kernel": "x"}', '{"measured": {}}']
)
def test_a_record_that_is_none_does_not_hide_how_the_run_ended(tmp_path, said):
    (tmp_path / "target.json").write_text(said)
    attempt = Attempt(PLAN, tmp_path, "ssh:vm", {"release": "1"})

    assert not attempt.is_told()
    assert attempt.write_manifest("failed", "why")["kernel"] == {"release": "1"}


def test_a_record_says_nothing_about_what_only_we_know(tmp_path):
    false = {"status": "complete", "seed": 7, "backend": "lab", "error": None, "summary": {}}
    (tmp_path / "target.json").write_text(json.dumps({**false, "measured": {"seed": 8}}))
    manifest = Attempt(PLAN, tmp_path, "ssh:vm", {}).write_manifest("failed", "why")

    assert [manifest[key] for key in ("status", "seed", "backend", "error")] == [
        "failed",
        1,
        "ssh:vm",
        "why",
    ]


def test_links_in_the_run_directory_are_removed_and_not_followed(tmp_path):
    outside, run_dir = tmp_path / "outside", tmp_path / "run"
    (outside / "kept").mkdir(parents=True)
    run_dir.mkdir()
    for name in ("raw", "derived", ".lab", "manifest.json"):
        (run_dir / name).symlink_to(outside)
    Attempt(PLAN, run_dir, "lab", {}).clear()

    assert [path.name for path in run_dir.iterdir()] == ["raw"]
    assert not (run_dir / "raw").is_symlink()
    assert (outside / "kept").is_dir()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, and ü – 3 ×", "plain, and ü – 3 ×"),
        ("two\nlines\tand", "two\nlines\tand"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07"),
        ("\x9b31m\r", "\\x9b31m\\r"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_nobody_elses_text_commands_our_terminal(text, shown):
    assert printable(text) == shown
