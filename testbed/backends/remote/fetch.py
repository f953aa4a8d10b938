# SPDX-License-Identifier: Apache-2.0
"""Files of a run from the machine to here: checked by their hash, resumed where they were cut."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from testbed.errors import BackendError

PART = ".part"
TRIES = 3
ALONE = ("runner.log", "target.json")

# Of what is free on the disk, a machine may send us so much.
MOST_OF_FREE = 0.9


class Fetch:
    """The files of one run on their way here, over one stream or several.

    Args:
        run_dir: where they go.
        manifest: size and sha256 of each, as the machine says; it sends them in this order.
        label: what messages call the machine.

    Raises:
        BackendError: a name leads out of the run directory, or our disk has no room.
    """

    def __init__(self, run_dir: Path, manifest: dict[str, dict[str, Any]], label: str) -> None:
        for name, said in manifest.items():
            _check_name(name, label)
            _check_said(name, said, label)
        _check_room(run_dir, sum(said["size"] for said in manifest.values()), label)
        self._run_dir = run_dir
        self._names = list(manifest)
        self._manifest = manifest
        self._first = 0
        self._wrong = 0

    @property
    def is_complete(self) -> bool:
        """Whether every file is here with its content."""
        return self._first == len(self._names)

    def take(self, stream: Callable[[int, int], Iterable[bytes]]) -> None:
        """Go on with a stream; one that ends or fails early leaves the rest to the next call.

        Args:
            stream: returns the bytes of all files from a number and an offset in that file on.

        Raises:
            BackendError: a file never had the right content.
        """
        self._finish_full()
        if self.is_complete:
            return
        wrong = self._wrong
        for block in stream(self._first, self._part_size()):
            while block:
                block = self._write(block)
                if self._wrong > wrong:
                    return  # it has to be sent again from its beginning

    def _write(self, block: bytes) -> bytes:
        """Append to the current file and return what belongs to the next ones."""
        if self.is_complete:
            raise BackendError("more came than the files that were announced")
        missing = self._current["size"] - self._part_size()
        with self._part.open("ab") as out:
            out.write(block[:missing])
        self._finish_full()
        return block[missing:]

    def _finish_full(self) -> None:
        """Give their names to the files that have all their bytes."""
        while not self.is_complete and self._part_size() >= self._current["size"]:
            self._part.touch()
            if _sha256(self._part) != self._current["sha256"]:
                self._refuse()
                return
            self._part.replace(self._run_dir / self._names[self._first])
            self._first += 1

    def _refuse(self) -> None:
        self._part.unlink()
        self._wrong += 1
        if self._wrong == TRIES:
            name = self._names[self._first]
            raise BackendError(f"{name} came {TRIES} times with another content than it has there")

    @property
    def _current(self) -> dict[str, Any]:
        return self._manifest[self._names[self._first]]

    @property
    def _part(self) -> Path:
        file = self._run_dir / self._names[self._first]
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.with_name(file.name + PART)

    def _part_size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0


def _check_name(name: str, label: str) -> None:
    path = PurePosixPath(name)
    is_raw = path.parts[:1] == ("raw",) and ".." not in path.parts and len(path.parts) > 1
    if not (is_raw and name.isprintable()) and name not in ALONE:
        raise BackendError(f'{label} offers the file "{name}", which is not part of a run')


def _check_said(name: str, said: Any, label: str) -> None:
    known = said if isinstance(said, dict) else {}
    size, digest = known.get("size"), known.get("sha256")
    if type(size) is not int or size < 0 or not isinstance(digest, str):
        raise BackendError(f'{label} does not say what size and content "{name}" has')


def _check_room(run_dir: Path, size_bytes: int, label: str) -> None:
    free_bytes = shutil.disk_usage(run_dir).free
    if size_bytes > MOST_OF_FREE * free_bytes:
        raise BackendError(
            f"the run left {size_bytes / 1e9:.1f} GB on {label}, and the disk of {run_dir} has "
            f"{free_bytes / 1e9:.1f} GB free; make room, or capture less of it"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
