# SPDX-License-Identifier: Apache-2.0
"""Packet captures: tcpdump on one interface, into raw/<node>.<path>.pcap."""

from pathlib import Path

from testbed.emulation.network import Node
from testbed.process import Background

BUFFER_KIB = 16384
READY_TIMEOUT_S = 30.0


def tcpdump_argv(interface: str, file: Path, snap_bytes: int) -> list[str]:
    """Return the command that records an interface with time stamps in ns."""
    return [
        "tcpdump",
        "--interface",
        interface,
        "--snapshot-length",
        str(snap_bytes),
        "--buffer-size",
        str(BUFFER_KIB),
        "--time-stamp-precision",
        "nano",
        "--no-promiscuous-mode",
        "--relinquish-privileges",
        "root",
        "-n",
        "-w",
        str(file),
    ]


def start_capture(
    node: Node, interface: str, file: Path, snap_bytes: int, expression: str = ""
) -> Background:
    """Start a capture; use `wait_until_capturing` before relying on it.

    Args:
        expression: which packets (pcap-filter(7)); empty: all.
    """
    return Background(
        [*tcpdump_argv(interface, file, snap_bytes), *([expression] if expression else [])],
        stdout_path=file.with_suffix(".tcpdump.out"),
        stderr_path=file.with_suffix(".tcpdump.txt"),
        prepare=node.namespace.enter,
    )


def wait_until_capturing(capture: Background) -> None:
    """Return when tcpdump says that it listens."""
    capture.wait_until(
        lambda: "listening on" in capture.stderr_path.read_text(errors="replace"),
        timeout_s=READY_TIMEOUT_S,
    )
