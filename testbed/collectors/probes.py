# SPDX-License-Identifier: Apache-2.0
"""Round trips over every path during a run, into raw/probes.bin.

ICMP echo (RFC 792) from the far end to the client's address on the path: what waits at an access
point is told from what waits anywhere else. One record `struct "<HHqq"` per answer: number of
the path in run.json, sequence number, when it was sent and how long the answer took, in ns.
raw/probes.json has how many requests were sent over each path.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from testbed.collectors.base_rtt import DATA_BYTES, ECHO_REPLY, ECHO_REQUEST, IP_BYTES, checksum
from testbed.emulation.network import Network
from testbed.errors import BackendError
from testbed.rundir import write_json
from testbed.timetable import Timetable

RECORD = struct.Struct("<HHqq")
STAMP = struct.Struct("<qHH")
IDENTIFIER = 0x7077
SO_TIMESTAMPNS = 35
ANSWER_BYTES, CONTROL_BYTES = 256, 64
NS_PER_S = 1_000_000_000


class Probes:
    """Asks the client for an echo over each of its paths, again and again.

    Args:
        network: the live network.
        paths: of the client, as in run.json.
        address_of: returns the client's address on a path.
        file: for the records.
    """

    def __init__(
        self,
        network: Network,
        paths: list[dict[str, Any]],
        address_of: Callable[[str], str],
        file: Path,
    ) -> None:
        self._paths, self._address_of = paths, address_of
        with network.nodes[paths[0]["to"]].namespace.inside():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setblocking(False)
        # When an answer came is the kernel's to say: it is read when there is time for it.
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._file, self._counts_file = file.open("wb"), file.with_suffix(".json")
        self._sequence = 0
        self._asked = {path["name"]: 0 for path in paths}

    def start(self, timetable: Timetable, start_ns: int, interval_s: float) -> None:
        """Enter the requests into the timetable, path by path."""
        step_ns = round(interval_s * NS_PER_S)
        for number in range(len(self._paths)):
            offset_ns = number * step_ns // len(self._paths)
            timetable.every(start_ns + offset_ns, step_ns, partial(self._ask, number))

    def _ask(self, number: int) -> None:
        self.take()
        try:
            address = self._address_of(self._paths[number]["name"])
        except BackendError:
            return  # no address, no question
        self._sequence = (self._sequence + 1) % 2**16
        header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, IDENTIFIER, self._sequence)
        stamp = STAMP.pack(time.time_ns(), number, self._sequence)
        data = header + stamp.ljust(DATA_BYTES, b"\0")
        data = data[:2] + struct.pack("!H", checksum(data)) + data[4:]
        with contextlib.suppress(OSError):  # a queue of the sender that is full
            self._socket.sendto(data, (address, 0))
            self._asked[self._paths[number]["name"]] += 1

    def take(self) -> None:
        """Write down the answers that have come."""
        while True:
            try:
                answer, control, _, _ = self._socket.recvmsg(ANSWER_BYTES, CONTROL_BYTES)
            except BlockingIOError:
                return
            kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", answer, IP_BYTES)
            if (kind, identifier) != (ECHO_REPLY, IDENTIFIER):
                continue
            seconds, nanoseconds = struct.unpack_from("=qq", control[0][2])
            sent_ns, number, sequence = STAMP.unpack_from(answer, IP_BYTES + 8)
            took_ns = seconds * NS_PER_S + nanoseconds - sent_ns
            self._file.write(RECORD.pack(number, sequence, sent_ns, took_ns))

    def close(self) -> None:
        """Take what is there and close the file."""
        self.take()
        self._socket.close()
        self._file.close()
        write_json(self._counts_file, self._asked)
