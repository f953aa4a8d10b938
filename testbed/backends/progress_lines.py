# SPDX-License-Identifier: Apache-2.0
"""The runner's standard output: a stream whose lines are reports of progress."""

import io
import json
import math
from typing import Any

from testbed.backends.base import Progress
from testbed.errors import BackendError

# Far longer than any report of ours.
MAX_LINE_BYTES = 1 << 20


def parse_report(line: bytes, whose: str) -> dict[str, Any]:
    """Return a report of a runner: its stage and time, or its error.

    Raises:
        BackendError: it is none.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not _is_report(found):
        raise BackendError(f'{whose} reported "{_start_of(line)}", which is no report')
    return found


def _is_report(found: dict[str, Any]) -> bool:
    if "error" in found:
        return isinstance(found["error"], str)
    t_s = found.get("t_s")
    is_time = isinstance(t_s, int | float) and math.isfinite(t_s)
    return isinstance(found.get("stage"), str) and (
        is_time or (t_s is None and found["stage"] != "measure")
    )


def _start_of(line: bytes) -> str:
    return line[:200].decode(errors="replace").strip()


def complete_lines(rest: bytes, data: bytes, whose: str) -> tuple[list[bytes], bytes]:
    """Return the complete lines of a stream, and the beginning of the next one.

    Args:
        rest: the beginning that was returned before.
        data: what came since then.
        whose: what messages call the sender.

    Raises:
        BackendError: a line has no end.
    """
    *lines, rest = (rest + data).split(b"\n")
    if len(rest) > MAX_LINE_BYTES:
        raise BackendError(f'{whose} said "{_start_of(rest)}" and so on, a line without an end')
    return lines, rest


class ProgressLines(io.BytesIO):
    """Takes what the runner writes and passes complete reports on.

    Args:
        progress: called with each report.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._rest = b""

    def write(self, data: Any) -> int:
        """Pass complete lines on."""
        lines, self._rest = complete_lines(self._rest, bytes(data), "the runner")
        for line in lines:
            self._progress(parse_report(line, "the runner"))
        return len(data)
