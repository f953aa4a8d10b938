# SPDX-License-Identifier: Apache-2.0
"""Counters of every emulated link: raw/links.start.json, raw/links.end.json, and over time
raw/links.jsonl, a line per sample: {"t_ns": time since the start, "links": {...}}."""

import json
import time
from pathlib import Path

from testbed.emulation.network import Network


def record_links(network: Network, file: Path) -> None:
    """Write the counters as they are now."""
    file.write_text(json.dumps(network.link_counters(), indent=1, sort_keys=True) + "\n")


class LinkSampler:
    """Writes the counters again and again.

    Args:
        network: whose links.
        file: where the lines go.
        start_ns: of the run, monotonic clock.
    """

    def __init__(self, network: Network, file: Path, start_ns: int) -> None:
        self._network = network
        self._start_ns = start_ns
        self._file = file.open("w")

    def sample(self) -> None:
        """Write a line with the counters as they are now."""
        line = {
            "t_ns": time.monotonic_ns() - self._start_ns,
            "links": self._network.link_counters(),
        }
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
