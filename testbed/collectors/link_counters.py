# SPDX-License-Identifier: Apache-2.0
"""Counters of every emulated link, into raw/links.<when>.json."""

import json
from pathlib import Path

from testbed.emulation.network import Network


def record_links(network: Network, file: Path) -> None:
    """Write the counters as they are now."""
    file.write_text(json.dumps(network.link_counters(), indent=1, sort_keys=True) + "\n")
