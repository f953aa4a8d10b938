# SPDX-License-Identifier: Apache-2.0
"""Columns that grow chunk by chunk and need no memory to speak of, however long they get.

A short column is an array in memory. A long one goes to a file without a name, in the folder of the
captures that it comes from, and is mapped: the kernel drops its pages when it needs the room.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

SPILL_BYTES = 4 << 20  # a column keeps this much in memory


class Column:
    """One column.

    Args:
        kind: numpy's name of its type.
        folder: where its file would be; by default where temporary files are.
    """

    def __init__(self, kind: str, folder: Path | None = None) -> None:
        self.kind = np.dtype(kind)
        self._folder = folder
        self._parts: list[npt.NDArray[Any]] = []
        self._waiting_bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, values: npt.ArrayLike) -> None:
        """Add a copy of some values at the end."""
        part = np.array(values, dtype=self.kind)
        self._parts.append(part)
        self._waiting_bytes += part.nbytes
        if self._waiting_bytes >= SPILL_BYTES:
            self._spill()

    def finish(self) -> npt.NDArray[Any]:
        """Return the whole column, which does not grow any more. It may be written to."""
        if self._file is None:
            return np.concatenate([np.zeros(0, self.kind), *self._parts])
        self._spill()
        self._file.flush()
        mapped = np.memmap(self._file, dtype=self.kind, mode="r+")
        self._file.close()  # the mapping stays
        return np.asarray(mapped)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - see finish()
        for part in self._parts:
            self._file.write(part.data)
        self._parts, self._waiting_bytes = [], 0


class Columns:
    """Columns of equal length, by name.

    Args:
        kinds: numpy's name of each column's type.
        folder: as for Column.
    """

    def __init__(self, kinds: Mapping[str, str], folder: Path | None = None) -> None:
        self._columns = {name: Column(kind, folder) for name, kind in kinds.items()}

    def append(self, rows: Mapping[str, npt.ArrayLike]) -> None:
        """Add rows; what `rows` holds beyond the columns is passed over."""
        for name, column in self._columns.items():
            column.append(rows[name])

    def finish(self) -> dict[str, npt.NDArray[Any]]:
        """Return the whole columns."""
        return {name: column.finish() for name, column in self._columns.items()}


def slices(count: int, length: int) -> Iterator[slice]:
    """Cut `count` rows into slices of `length`, the last one shorter."""
    for first in range(0, count, length):
        yield slice(first, min(first + length, count))
