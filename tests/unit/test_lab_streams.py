# SPDX-License-Identifier: Apache-2.0
"""The standard streams of the lab's command, in a letter box without a lab."""

import io
import os
import select
import socket
from pathlib import Path

import pytest

from testbed.lab.streams import CHUNK_BYTES, MAX_WAITING_CHUNKS, Input, Output


@pytest.fixture
def pipe():
    """Give the two ends of a pipe as files."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as reader, os.fdopen(write_fd, "wb", buffering=0) as writer:
        yield reader, writer


@pytest.fixture
def output(tmp_path):
    """Make outputs that are closed after the test."""
    made = []

    def make(sink):
        made.append(Output(tmp_path / "stdout", sink))
        return made[-1]

    yield make
    for one in made:
        one.close()


def take_all(source):
    """Take parts as long as there are any."""
    while source.descriptors() and select.select(source.descriptors(), [], [], 0)[0]:
        source.take()


def chunks(box):
    names = sorted((path.name for path in box.iterdir()), key=lambda name: int(name[6:]))
    return [(box / name).read_bytes() for name in names]


def test_nothing_is_given(tmp_path):
    source = Input(None, tmp_path)
    assert (source.kind(None), source.descriptors()) == ("none", [])
    assert list(tmp_path.iterdir()) == []


def test_file_is_given_whole_and_before_the_boot(tmp_path):
    (tmp_path / "data").write_bytes(b"x" * 3 * CHUNK_BYTES)
    box = tmp_path / "box"
    box.mkdir()
    with (tmp_path / "data").open("rb") as stream:
        source = Input(stream, box)
    assert (source.kind(None), source.descriptors()) == ("file", [])
    assert (box / "stdin").read_bytes() == b"x" * 3 * CHUNK_BYTES


def test_file_is_given_from_where_it_stands(tmp_path):
    """As in a shell, the next program reads on where the one before has stopped."""
    (tmp_path / "data").write_bytes(b"read rest")
    with (tmp_path / "data").open("rb") as stream:
        stream.read(5)
        Input(stream, tmp_path)
    assert (tmp_path / "stdin").read_bytes() == b"rest"


def test_pipe_is_given_in_parts(tmp_path, pipe):
    reader, writer = pipe
    source = Input(reader, tmp_path)
    assert source.kind(None) == "chunks"
    for part in (b"first", b"second"):
        writer.write(part)
        take_all(source)
    assert chunks(tmp_path) == [b"first", b"second"]
    assert source.descriptors() == [reader.fileno()]


def test_end_of_a_pipe_is_an_empty_part(tmp_path, pipe):
    """It is the last one; afterwards there is nothing to wait for."""
    reader, writer = pipe
    source = Input(reader, tmp_path)
    writer.write(b"all")
    writer.close()
    take_all(source)
    assert chunks(tmp_path) == [b"all", b""]
    assert source.descriptors() == []


def test_part_is_complete_or_absent(tmp_path, pipe, monkeypatch):
    """The guest sees a part's name when all of the part is there."""
    reader, writer = pipe
    source = Input(reader, tmp_path)
    writer.write(b"data")

    def interrupt(self, target):
        assert self.read_bytes() == b"data"
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        source.take()
    assert list(tmp_path.glob("stdin.*")) == []


def test_named_pipe_is_a_pipe(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with os.fdopen(os.open(fifo, os.O_RDWR), "r+b", buffering=0) as stream:
        assert Input(stream, tmp_path).kind(None) == "chunks"


def test_socket_is_a_pipe(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        source = Input(stream, tmp_path)
        assert source.kind(None) == "chunks"
        theirs.send(b"data")
        take_all(source)
    assert chunks(tmp_path) == [b"data"]


def test_terminal_is_not_passed_on(tmp_path):
    """Nobody can type at a moment of virtual time."""
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0), os.fdopen(follower, "rb", buffering=0) as stream:
        source = Input(stream, tmp_path)
        assert (source.kind(None), source.descriptors()) == ("none", [])


def test_shell_reads_its_console(tmp_path):
    assert Input(None, tmp_path).kind("/dev/pts/7") == "console"


def test_device_is_nothing(tmp_path):
    with Path(os.devnull).open("rb") as stream:
        assert Input(stream, tmp_path).kind(None) == "none"


def test_reading_stops_while_the_guest_is_behind(tmp_path, pipe):
    """At most so many parts wait; one more is read for each that the guest has taken."""
    reader, writer = pipe
    source = Input(reader, tmp_path)
    for _ in range(MAX_WAITING_CHUNKS):
        writer.write(b"x")
        source.take()
    assert source.descriptors() == []
    (tmp_path / "stdin.0").unlink()
    assert source.descriptors() == [reader.fileno()]
    writer.write(b"last")
    source.take()
    assert (tmp_path / f"stdin.{MAX_WAITING_CHUNKS}").read_bytes() == b"last"


def test_output_comes_as_it_grows(tmp_path, output):
    sink = io.BytesIO()
    one = output(sink)
    with (tmp_path / "stdout").open("ab", buffering=0) as guest:
        for part in (b"first ", b"", b"y" * (CHUNK_BYTES + 1)):
            guest.write(part)
            one.pump()
    assert sink.getvalue() == b"first " + b"y" * (CHUNK_BYTES + 1)


def test_output_is_flushed(tmp_path, output):
    """A reader at the other end of a pipe sees it at once."""
    raw = io.BytesIO()
    one = output(io.BufferedWriter(raw))
    (tmp_path / "stdout").write_bytes(b"now")
    one.pump()
    assert raw.getvalue() == b"now"


def test_output_to_nowhere(tmp_path, output):
    one = output(None)
    (tmp_path / "stdout").write_bytes(b"lost")
    one.pump()
    assert (tmp_path / "stdout").read_bytes() == b"lost"


def test_output_file_is_there_before_the_guest(tmp_path, output):
    (tmp_path / "stdout").write_bytes(b"of an earlier boot")
    sink = io.BytesIO()
    output(sink).pump()
    assert (tmp_path / "stdout").read_bytes() == sink.getvalue() == b""
