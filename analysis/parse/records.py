# SPDX-License-Identifier: Apache-2.0
"""Find the packet records of a capture file; the one part of reading it that is sequential.

A pcap file has no index: a record's place is known once the length of the one before it is read. A
Python loop over 10^7 records takes seconds. So the file is cut into segments, in each segment a
plausible record header is searched, and numpy then walks all segments in step. The walk through a
segment must end exactly on the header found in the next; as the first header is certain, every
record found that way is certain too. Where it does not, the walk of the earlier segment goes on.

Formats: pcap (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html) and pcapng
(https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.parse import pcapng
from analysis.parse.places import Bytes, Int64, Records, field_view
from testbed.errors import RunInvalid

# First four bytes of the file -> (byte order, nanoseconds per unit of the fraction).
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
MAX_CAPTURED_BYTES = 262_144  # MAXIMUM_SNAPLEN of libpcap
WINDOW_BYTES = 128 << 20  # file bytes walked at once: bounds the memory
SEGMENT_BYTES = 64 << 10
SCAN_SECONDS = 10 * 365 * 86_400  # a header is plausible this far from the file's first


class FileHeader(NamedTuple):
    """What the first 24 bytes of a pcap file say."""

    order: str
    unit_ns: int
    link_type: int


def iter_records(data: Bytes) -> Iterator[Records]:
    """Yield the places and times of the packets of a capture, in file order.

    Args:
        data: the file as a uint8 array (mapped or in memory); may be cut off anywhere.

    Raises:
        RunInvalid: the file is not a capture, or a record in it is impossible.
    """
    if data.nbytes >= 4 and bytes(data[:4]) == pcapng.SECTION_HEADER:
        yield from pcapng.iter_records(data)
        return
    header = read_file_header(data)
    for starts in iter_starts(data, header.order):
        yield _describe(data, starts, header)


def read_file_header(data: Bytes) -> FileHeader:
    """Read the file header of a pcap file.

    Raises:
        RunInvalid: the first bytes are not those of a capture.
    """
    if data.nbytes < FILE_HEADER_BYTES:
        raise RunInvalid(f"a capture of {data.nbytes} bytes has no file header, record it again")
    magic = bytes(data[:4])
    if magic not in MAGICS:
        raise RunInvalid(f"a file that begins with {magic.hex()} is no pcap or pcapng capture")
    order, unit_ns = MAGICS[magic]
    # The upper 16 bits of the last word are flags (frame check sequence).
    (link_type,) = struct.unpack_from(order + "I", data.data, 20)
    return FileHeader(order, unit_ns, link_type & 0xFFFF)


def iter_starts(
    data: Bytes, order: str, window_bytes: int = WINDOW_BYTES, segment_bytes: int = SEGMENT_BYTES
) -> Iterator[Int64]:
    """Yield the offsets of the record headers, window by window, each window in ascending order.

    A record that the end of the file cuts off is left out.
    """
    position, end = FILE_HEADER_BYTES, data.nbytes
    captured = field_view(data, 8, order + "u4")
    while position + RECORD_HEADER_BYTES <= end:
        limit = min(position + window_bytes, end)
        starts, position = _walk_window(data, captured, order, (position, limit), segment_bytes)
        if starts.size and position > end:
            starts = starts[:-1]
        yield starts


def _walk_window(
    data: Bytes, captured: npt.NDArray[np.uint32], order: str, span: tuple[int, int], step: int
) -> tuple[Int64, int]:
    """Return the record starts in [span) and the place of the first record after it."""
    first, limit = span
    heads = _segment_heads(data, order, first, limit, step)
    found, position = [], first
    while position < limit:
        at = int(np.searchsorted(heads, position))
        if at < heads.size and heads[at] == position:
            starts, position = _walk_in_step(captured, heads[at:], limit)
        else:
            stop = int(heads[at]) if at < heads.size else limit
            starts, position = _walk_one_by_one(captured, position, stop)
        found.append(starts)
        if captured.size <= position < limit:  # less than a record header is left
            break
    return np.concatenate(found), position


def _segment_heads(data: Bytes, order: str, first: int, limit: int, step: int) -> Int64:
    """Return one plausible record header per segment, `first` among them."""
    bounds = np.arange(first, limit, step, dtype=np.int64)
    if bounds.size < 16:  # not worth the search
        return bounds[:1]
    view = field_view(data, 0, _header_type(order))
    reach = int(_reach(view, bounds[:1]))
    places = bounds[1:, None] + np.arange(reach)
    places = places[places[:, -1] < view.size]
    good = _plausible(view, places.ravel(), int(view[first]["seconds"])).reshape(places.shape)
    has, column = good.any(axis=1), good.argmax(axis=1)
    rows = np.flatnonzero(has)
    return np.concatenate([bounds[:1], places[rows, column[rows]]])


def _reach(view: npt.NDArray[np.void], first: Int64) -> int:
    """Guess how far apart headers are: the greatest of the first 200 records, and some more."""
    position, greatest = int(first[0]), 0
    for _ in range(200):
        if position >= view.size:
            break
        size = RECORD_HEADER_BYTES + min(int(view[position]["captured"]), MAX_CAPTURED_BYTES)
        greatest, position = max(greatest, size), position + size
    return min(greatest + 32, 4096)


def _plausible(view: npt.NDArray[np.void], places: Int64, seconds: int) -> npt.NDArray[np.bool_]:
    """Tell where both this header and the one after it could be record headers."""
    good = np.zeros(places.size, dtype=bool)
    where = np.arange(places.size)
    for _ in range(2):
        header = view[places]
        fits = (
            (header["captured"] <= MAX_CAPTURED_BYTES)
            & (header["captured"] <= header["wire"])
            & (header["fraction"] < 1_000_000_000)
            & (np.abs(header["seconds"].astype(np.int64) - seconds) < SCAN_SECONDS)
        )
        where, header, places = where[fits], header[fits], places[fits]
        places = places + RECORD_HEADER_BYTES + header["captured"].astype(np.int64)
        inside = places < view.size
        where, places = where[inside], places[inside]
    good[where] = True
    return good


def _walk_in_step(captured: npt.NDArray[np.uint32], heads: Int64, limit: int) -> tuple[Int64, int]:
    """Walk all segments at once; return the starts that are certain and where they end."""
    ends = np.append(heads[1:], limit)
    position, stop, chain = heads.copy(), ends.copy(), np.arange(heads.size)
    landed = np.zeros_like(heads)
    starts, chains = [], []
    while position.size:
        starts.append(position)
        chains.append(chain)
        size = captured[np.minimum(position, captured.size - 1)]
        wild = (size > MAX_CAPTURED_BYTES) | (position >= captured.size)
        position = position + RECORD_HEADER_BYTES + size
        alive = (position < stop) & ~wild
        landed[chain[~alive]] = np.where(wild, -1, position)[~alive]
        position, stop, chain = position[alive], stop[alive], chain[alive]
    missed = np.flatnonzero(landed[:-1] != heads[1:])
    certain = int(missed[0]) + 1 if missed.size else heads.size
    end = int(landed[certain - 1])
    flat, of = np.concatenate(starts), np.concatenate(chains)
    if end < 0:  # a wild length, met on certain ground: let the careful walk report it
        certain -= 1
        end = int(heads[certain])
        rest, end = _walk_one_by_one(captured, end, int(ends[certain]))
        return np.concatenate([np.sort(flat[of < certain]), rest]), end
    return np.sort(flat[of < certain]), end


def _walk_one_by_one(
    captured: npt.NDArray[np.uint32], position: int, stop: int
) -> tuple[Int64, int]:
    """Walk from `position` until `stop` is reached or passed, or the file ends."""
    starts = []
    while position < stop and position < captured.size:
        size = int(captured[position])
        if size > MAX_CAPTURED_BYTES:
            raise RunInvalid(f"the record at byte {position} claims {size} captured bytes")
        starts.append(position)
        position += RECORD_HEADER_BYTES + size
    return np.array(starts, dtype=np.int64), position


def _header_type(order: str) -> np.dtype[np.void]:
    names = ("seconds", "fraction", "captured", "wire")
    return np.dtype([(name, order + "u4") for name in names])


def _describe(data: Bytes, starts: Int64, header: FileHeader) -> Records:
    """Read the record headers at `starts`."""
    rows = field_view(data, 0, _header_type(header.order))[starts]
    seconds, fraction = (rows[name].astype(np.int64) for name in ("seconds", "fraction"))
    return Records(
        start=starts + RECORD_HEADER_BYTES,
        captured=rows["captured"].astype(np.int64),
        wire=rows["wire"].astype(np.int64),
        t_ns=seconds * 1_000_000_000 + fraction * header.unit_ns,
        link_type=header.link_type,
    )
