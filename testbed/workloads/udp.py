# SPDX-License-Identifier: Apache-2.0
"""A constant stream of UDP packets to the client over each of its paths.

A queue that is full loses packets and nobody sends less: what a link carries is seen at once. One
process holds both ends; when a packet came is the kernel's to say. raw/udp.bin has one record
`struct "<HIqq"` per packet that came: number of the path, sequence number, when it was sent and
how long it took, in ns. Standard library only.
"""

import socket
import struct
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.rundir import write_json
from testbed.workloads.base import Stage, Workload

RECORD = struct.Struct("<HIqq")
STAMP = struct.Struct("<qHI")
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER_BYTES = 64 << 20
IP_AND_UDP_BYTES = 28
DRAIN_STEP_NS = 100_000_000
NS_PER_S = 1_000_000_000


class UdpWorkload(Workload):
    """The streams of all paths."""

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._sent = [0 for _ in plan["flows"]]
        self._received = [0 for _ in plan["flows"]]
        self._last_s: float | None = None
        self._is_stopped = False

    def start_servers(self, stack: ExitStack) -> None:
        """Open all sockets; a bound socket is ready."""
        self._file = stack.enter_context((self._raw / "udp.bin").open("wb"))
        self._senders, self._receivers = [], []
        for flow in self._plan["flows"]:
            with self._network.nodes[flow["client"]].namespace.inside():
                receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stack.callback(receiver.close)
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            receiver.setblocking(False)
            receiver.bind((flow["address"], flow["port"]))
            with self._network.nodes[flow["server"]].namespace.inside():
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stack.callback(sender.close)
            sender.connect((flow["address"], flow["port"]))
            self._receivers.append(receiver)
            self._senders.append(sender)

    def prepare(self, stage: Stage) -> None:
        """Enter the packets into the timetable, each at its time."""
        self._timetable, self._start_ns = stage.timetable, stage.start_ns
        stage.timetable.every(stage.start_ns, DRAIN_STEP_NS, self._take)

    def start(self, stack: ExitStack) -> None:
        """Send the first packet of each stream."""
        for number, flow in enumerate(self._plan["flows"]):
            step_ns = round(flow["packet_bytes"] * 8 * NS_PER_S / flow["rate_bps"])
            self._timetable.every(self._start_ns, step_ns, partial(self._send, number))

    def _send(self, number: int) -> None:
        if self._is_stopped:
            return
        size = self._plan["flows"][number]["packet_bytes"] - IP_AND_UDP_BYTES
        stamp = STAMP.pack(time.time_ns(), number, self._sent[number])
        self._senders[number].send(stamp.ljust(size, b"\0"))
        self._sent[number] += 1

    def _take(self) -> None:
        for receiver in self._receivers:
            while True:
                try:
                    data, control, _, _ = receiver.recvmsg(STAMP.size, 64)
                except BlockingIOError:
                    break
                seconds, nanoseconds = struct.unpack_from("=qq", control[0][2])
                sent_ns, number, sequence = STAMP.unpack_from(data)
                came_ns = seconds * NS_PER_S + nanoseconds
                self._file.write(RECORD.pack(number, sequence, sent_ns, came_ns - sent_ns))
                self._received[number] += 1

    def watched(self) -> list[int]:
        """Return nothing: the streams end with the run."""
        return []

    def is_done(self) -> bool:
        """Say that they have not ended by themselves."""
        return False

    def stop(self) -> None:
        """Send no more."""
        self._is_stopped = True

    def result(self) -> dict[str, Any]:
        """Return what was sent and what came, stream by stream."""
        self._take()
        flows = [
            {"path": flow["path"], "sent": sent, "received": received}
            for flow, sent, received in zip(
                self._plan["flows"], self._sent, self._received, strict=True
            )
        ]
        found = {"exit_status": 0, "flows": flows}
        write_json(self._raw / "udp.json", found)
        return found
