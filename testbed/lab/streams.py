# SPDX-License-Identifier: Apache-2.0
"""The standard streams of the lab's command, carried through the letter box."""

import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import IO

CHUNK_BYTES = 65536

# Parts that may wait for the guest: what we read ahead of it is bounded.
MAX_WAITING_CHUNKS = 16


class Input:
    """The command's standard input.

    A regular file is handed over whole before the boot, so that such a run is repeatable. A
    pipe or socket is handed over in parts as they come. A terminal is not passed on, as
    nobody could type at a moment of virtual time.

    Args:
        stream: the host's stream, or None.
        box: the letter box.
    """

    def __init__(self, stream: IO[bytes] | None, box: Path) -> None:
        self._box = box
        self._fd = -1
        self._numbers = itertools.count()
        self._kind = "none"
        if stream is None:
            return
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISREG(mode):
            self._kind = "file"
            with (box / "stdin").open("wb") as copy:
                shutil.copyfileobj(stream, copy)
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            self._kind = "chunks"
            self._fd = stream.fileno()

    def kind(self, terminal: str | None) -> str:
        """Return the guest's word for where its standard input comes from."""
        return "console" if terminal is not None else self._kind

    def descriptors(self) -> list[int]:
        """Return what to wait on before `take`: nothing while the guest is behind."""
        if self._fd < 0 or len(list(self._box.glob("stdin.*"))) >= MAX_WAITING_CHUNKS:
            return []
        return [self._fd]

    def take(self) -> None:
        """Pass one part on; an empty one, at the end of the stream, is the last."""
        data = os.read(self._fd, CHUNK_BYTES)
        name = f"stdin.{next(self._numbers)}"
        fresh = self._box / f"new-{name}"
        with fresh.open("xb") as file:  # a link that the guest put there is not followed
            file.write(data)
        fresh.rename(self._box / name)
        if not data:
            self._fd = -1


class Output:
    """One output of the command: a file the guest writes, copied as it grows.

    Args:
        path: the file in the letter box.
        sink: where its bytes go; nowhere when None.
    """

    def __init__(self, path: Path, sink: IO[bytes] | None) -> None:
        path.write_bytes(b"")
        self._file = path.open("rb")
        self._sink = sink

    def pump(self) -> None:
        """Copy what has come since the last call."""
        if self._sink is None:
            return
        while data := self._file.read(CHUNK_BYTES):
            self._sink.write(data)
        self._sink.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
