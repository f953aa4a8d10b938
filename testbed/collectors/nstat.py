# SPDX-License-Identifier: Apache-2.0
"""MIB counters of a node, as the kernel prints them, into raw/<node>.nstat.<when>.txt."""

from pathlib import Path

from testbed.emulation.network import Node

SOURCES = ("/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp")


def record_counters(node: Node, file: Path) -> None:
    """Write the counters as they are now."""
    with node.namespace.inside():
        text = "".join(Path(source).read_text() for source in SOURCES)
    file.write_text(text)
