# SPDX-License-Identifier: Apache-2.0
"""The runner's standard output: a stream whose lines are reports of progress."""

import io
import json
from typing import Any

from testbed.backends.base import Progress
from testbed.errors import BackendError


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
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            try:
                self._progress(json.loads(line))
            except ValueError:
                said = line.decode(errors="replace")
                raise BackendError(f'the runner reported "{said}", which is no report') from None
        return len(data)
