# SPDX-License-Identifier: Apache-2.0
"""Read fields at many unaligned places of a byte array at once; the parsers' common ground."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


class Records(NamedTuple):
    """Packets of one capture, n each: where their bytes are and what the file says of them."""

    start: Int64  # offset of the first captured byte
    captured: Int64
    wire: Int64
    t_ns: Int64  # Unix time
    link_type: int  # LINKTYPE_ value of tcpdump.org

    def part(self, selection: slice) -> "Records":
        """Return the records of a slice."""
        start, captured, wire, t_ns = (column[selection] for column in self[:4])
        return Records(start, captured, wire, t_ns, self.link_type)


def field_view(data: Bytes, offset: int, kind: str | np.dtype[np.void]) -> npt.NDArray[Any]:
    """View `data` so that element i is the field at byte offset + i; nothing is copied."""
    dtype = np.dtype(kind)
    count = max(data.nbytes - offset - dtype.itemsize + 1, 0)
    if not count:
        return np.zeros(0, dtype=dtype)
    return np.ndarray((count,), dtype=dtype, buffer=data.data, offset=offset, strides=(1,))


def take_rows(data: Bytes, starts: Int64, width: int) -> Bytes:
    """Copy `width` bytes from each start, n x width; beyond the end of the data they are zero."""
    view = field_view(data, 0, f"V{width}")
    late = np.flatnonzero(starts >= view.size)
    if not view.size:
        rows = np.zeros((starts.size, width), dtype=np.uint8)
    else:
        taken = view[np.minimum(starts, view.size - 1)] if late.size else view[starts]
        rows = taken.view(np.uint8).reshape(-1, width)
    for row in late:
        tail = data[starts[row] :][:width]
        rows[row] = 0
        rows[row, : tail.size] = tail
    return rows
