# SPDX-License-Identifier: Apache-2.0
"""Read the reports of iperf3 (JSON) and iperf 2 (CSV): what arrived, stream by stream.

iperf 2 gives times in tenths of a second in CSV; the exact one of a whole stream follows from its
bytes and its rate.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.errors import RunInvalid

BITS = 8
CSV_FIELDS = 9


@dataclass(frozen=True)
class Interval:
    """What one stream carried in a part of its time."""

    stream: int
    start_s: float
    end_s: float
    bytes: int


@dataclass(frozen=True)
class Report:
    """What one end says.

    Attributes:
        version: "iperf 3.18", or "" where the report does not say.
        streams: one per connection, over all of its time.
        intervals: the same in parts, in the order of the report; streams count from 0.
        error: what iperf3 says went wrong, or None.
    """

    version: str
    streams: tuple[Interval, ...]
    intervals: tuple[Interval, ...]
    error: str | None = None

    @property
    def bytes(self) -> int:
        """The bytes of all streams."""
        return sum(stream.bytes for stream in self.streams)

    @property
    def seconds(self) -> float:
        """The time of the longest stream."""
        return max((stream.end_s - stream.start_s for stream in self.streams), default=0.0)

    @property
    def goodput_mbps(self) -> float | None:
        """The bytes of all streams over the time of the longest."""
        return self.bytes * BITS / self.seconds / 1e6 if self.seconds > 0 else None


def parse_iperf3(text: str) -> Report:
    """Read what `iperf3 --json` prints; a stream is as its receiver saw it.

    Raises:
        RunInvalid: it is not a whole report of iperf3.
    """
    try:
        content = json.loads(text)
        end = content["end"]
        streams = tuple(
            _iperf3_interval(number, stream["receiver"])
            for number, stream in enumerate(end.get("streams", []))
        )
        intervals = tuple(
            _iperf3_interval(number, part)
            for interval in content["intervals"]
            for number, part in enumerate(interval["streams"])
        )
        return Report(str(content["start"]["version"]), streams, intervals, content.get("error"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RunInvalid(
            "a report of iperf3 is cut off or is not one; see its .err file"
        ) from error


def _iperf3_interval(stream: int, entry: dict[str, Any]) -> Interval:
    return Interval(stream, float(entry["start"]), float(entry["end"]), int(entry["bytes"]))


def parse_iperf2(text: str) -> Report:
    """Read what `iperf --reportstyle C` prints at the end that receives.

    Each line is "time,local address,port,remote address,port,stream,start-end,bytes,bits per
    second"; the last line of a stream is about all of its time.

    Raises:
        RunInvalid: a line is something else.
    """
    lines: dict[int, list[tuple[Interval, float]]] = {}
    for row in csv.reader(text.splitlines()):
        if row:
            interval, rate_bps = _iperf2_line(row)
            known = lines.setdefault(interval.stream, [])
            if (interval, rate_bps) not in known[-1:]:  # the last part is printed twice if whole
                known.append((interval, rate_bps))
    streams, intervals = [], []
    for number, stream in enumerate(sorted(lines)):
        parts = [_renamed(part, number) for part, _ in lines[stream]]
        last, rate_bps = parts[-1], lines[stream][-1][1]
        if last.start_s > 0:  # cut off before its end
            whole = Interval(number, 0.0, last.end_s, sum(part.bytes for part in parts))
        else:
            seconds = last.bytes * BITS / rate_bps if rate_bps > 0 else last.end_s
            whole = Interval(number, 0.0, seconds, last.bytes)
        streams.append(whole)
        intervals += parts if last.start_s > 0 or len(parts) == 1 else parts[:-1]
    return Report("", tuple(streams), tuple(intervals))


def _iperf2_line(row: list[str]) -> tuple[Interval, float]:
    try:
        if len(row) < CSV_FIELDS:
            raise ValueError
        start, _, end = row[6].partition("-")
        return Interval(int(row[5]), float(start), float(end), int(row[7])), float(row[8])
    except ValueError as error:
        raise RunInvalid(f"{','.join(row)[:60]!r} is no line of a report of iperf 2") from error


def _renamed(part: Interval, stream: int) -> Interval:
    return Interval(stream, part.start_s, part.end_s, part.bytes)


PARSERS: dict[str, Callable[[str], Report]] = {"iperf3": parse_iperf3, "iperf": parse_iperf2}
