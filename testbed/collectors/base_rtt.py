# SPDX-License-Identifier: Apache-2.0
"""Base RTT of every path before the workload, into raw/paths.rtt.json.

An ICMP echo (RFC 792) from the address of the path to the far end, when nothing else is on the
way. What was asked is the propagation delay there and back and the time that each link's rate
needs for the packet.
"""

import socket
import struct
import time
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.errors import BackendError
from testbed.rundir import write_json

ECHO_REQUEST, ECHO_REPLY = 8, 0
IP_BYTES, ICMP_BYTES, DATA_BYTES = 20, 8, 36
PACKET_BYTES = IP_BYTES + ICMP_BYTES + DATA_BYTES
PROBES = 3
TIMEOUT_S = 60.0
TRIES = 8  # of a probe, on a path that loses packets
OPPOSITE = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}


def measure_base_rtt(network: Network, paths: list[dict[str, Any]], file: Path) -> None:
    """Write asked and measured RTT of each path, in us.

    Raises:
        BackendError: a path leads nowhere.
    """
    found = {}
    for path in paths:
        target = far_address(network.plain["links"], path)
        with network.nodes[path["node"]].namespace.inside():
            probe = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with probe:
            probe.bind((path["address"], 0))
            probe.settimeout(TIMEOUT_S)
            tries = TRIES if loses_packets(network.links, path) else 1
            measured = [_echo(probe, target, n, path["name"], tries) for n in range(PROBES)]
        asked_us = asked_rtt_s(network.links, path) * 1e6
        found[path["name"]] = {"asked_us": asked_us, "measured_us": measured}
    write_json(file, found)


def asked_rtt_s(links: dict[str, dict[str, Any]], path: dict[str, Any]) -> float:
    """Return how long a packet of PACKET_BYTES takes there and back on an idle path."""
    total_s = 0.0
    for name, direction in path["hops"]:
        for way in (links[name][direction], links[name][OPPOSITE[direction]]):
            total_s += way["one_way_delay_s"]
            if way["rate_bps"]:
                # The kernel counts a rate in whole bytes per second.
                total_s += PACKET_BYTES / (way["rate_bps"] // 8)
    return total_s


def loses_packets(links: dict[str, dict[str, Any]], path: dict[str, Any]) -> bool:
    """Say whether a link of a path loses packets of itself, there or back."""
    return any(links[name][way]["loss_fraction"] for name, _ in path["hops"] for way in OPPOSITE)


def far_address(links: list[dict[str, Any]], path: dict[str, Any]) -> str:
    """Return the address at which a path's last link reaches its far end."""
    name, direction = path["hops"][-1]
    link = next(link for link in links if link["name"] == name)
    return str(link["b_address"] if direction == "a_to_b" else link["a_address"])


def _echo(probe: socket.socket, target: str, number: int, path: str, tries: int) -> float:
    header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0x7465, number)
    data = header + bytes(DATA_BYTES)
    checked = data[:2] + struct.pack("!H", checksum(data)) + data[4:]
    for _ in range(tries):
        elapsed_us = _exchange(probe, target, number, checked)
        if elapsed_us is not None:
            return elapsed_us
    raise BackendError(f"the path {path} leads nowhere: {target} does not answer")


def _exchange(probe: socket.socket, target: str, number: int, checked: bytes) -> float | None:
    """Return how long the answer took, in us; None if none came."""
    started_ns = time.monotonic_ns()
    probe.sendto(checked, (target, 0))
    while True:
        try:
            answer, (source, _) = probe.recvfrom(256)
        except TimeoutError:
            return None
        now_ns = time.monotonic_ns()
        kind, _, _, _, sequence = struct.unpack_from("!BBHHH", answer, IP_BYTES)
        if (source, kind, sequence) == (target, ECHO_REPLY, number):
            return (now_ns - started_ns) / 1e3


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
