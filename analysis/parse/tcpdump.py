# SPDX-License-Identifier: Apache-2.0
"""Read what tcpdump says at its end, to learn whether a capture is complete."""

import re
from dataclasses import dataclass

LINE = re.compile(r"^(\d+) packets? (captured|received by filter|dropped by (?:kernel|interface))")


@dataclass(frozen=True)
class CaptureStatistics:
    """Packets as tcpdump counts them; None where it did not say.

    Attributes:
        received: packets that the kernel's filter accepted, including those that were still in
            the buffer when tcpdump was told to stop and are missing from the file.
    """

    captured: int | None = None
    received: int | None = None
    dropped_by_kernel: int | None = None
    dropped_by_interface: int | None = None


NAMES = {
    "captured": "captured",
    "received by filter": "received",
    "dropped by kernel": "dropped_by_kernel",
    "dropped by interface": "dropped_by_interface",
}


def parse_tcpdump(text: str) -> CaptureStatistics:
    """Read tcpdump's standard error; a line that is absent leaves its field None."""
    found = {NAMES[m[2]]: int(m[1]) for line in text.splitlines() if (m := LINE.match(line))}
    return CaptureStatistics(**found)
