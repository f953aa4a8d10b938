# SPDX-License-Identifier: Apache-2.0
"""What the sending and the receiving process of bulk flows have in common: their connections.

Either may be the client of a flow. A socket stays in the namespace it was made in, so one process
holds the sockets of all nodes. The client says first which flow a connection is.

Each process has an inbox, a pipe of 8-byte numbers: the start of the run (monotonic clock, ns),
STOP, or -1 - the id of a flow that failed at the other side and so will not come.
"""

import errno
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from testbed.errors import TestbedError
from testbed.rundir import write_json
from testbed.workloads.bulk_flow import GREETING, GREETING_WORD, NS_PER_S, Flow, read_flows
from testbed.workloads.bulk_loop import Loop
from testbed.workloads.bulk_sockets import (
    enter_namespace,
    make_listener,
    make_socket,
    reason,
    transport_facts,
)

READY = "ready"
MESSAGE = struct.Struct("<q")
STOP = -(1 << 63)
MESSAGES_BYTES = 4096


class Side(ABC):
    """One of the two processes.

    Args:
        spec: "plan", "namespaces" (node -> path), "inbox", "peer_inbox" (paths of pipes),
            "results" and "blocks" (paths of files).
    """

    # The direction in which this side is the server.
    serves: ClassVar[str]

    def __init__(self, spec: dict[str, Any]) -> None:
        self.plan = spec["plan"]
        self.records_blocks = bool(self.plan.get("record_blocks"))
        self.flows = {flow.id: flow for flow in read_flows(self.plan)}
        self._clients_of: dict[str, list[Flow]] = {}
        self._servers_of: dict[str, list[Flow]] = {}
        for flow in self.flows.values():
            if flow.direction == self.serves:
                self._servers_of.setdefault(flow.server, []).append(flow)
            else:
                self._clients_of.setdefault(flow.client, []).append(flow)
        self.loop = Loop()
        self.start_ns = 0
        # What is said of each flow in the end; times are of the monotonic clock.
        self.reports: dict[int, dict[str, Any]] = {number: {} for number in self.flows}
        self._spec = spec
        self._left = set(self.flows)
        self._is_stopped = False
        self._clients: dict[int, socket.socket] = {}
        self._listeners: list[socket.socket] = []
        # The sockets of flows that are on their way.
        self._connected: dict[int, socket.socket] = {}

    @abstractmethod
    def opened(self, flow: Flow, connection: socket.socket) -> None:
        """Take over a connection that has been greeted."""

    @abstractmethod
    def stopped(self, flow: Flow) -> None:
        """Do what is left to do for a flow that the end of the run cuts off."""

    def carry_out(self) -> None:
        """Listen, say that we are ready, wait for the start, and go on until every flow ended."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._open_pipes()
        self._prepare()
        print(READY, flush=True)
        self.loop.run(lambda: bool(self._left) and not self._is_stopped)
        for number in sorted(self._connected):
            self.stopped(self.flows[number])
            self._describe(number, self._connected[number])
        write_json(Path(self._spec["results"]), self._results())

    def _results(self) -> dict[str, Any]:
        for number in self._left:
            self.reports[number]["is_unfinished"] = True
        return {
            "start_ns": self.start_ns,
            "wakeups": self.loop.wakeups,
            "flows": {str(number): report for number, report in self.reports.items()},
        }

    def _open_pipes(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._inbox = os.open(self._spec["inbox"], os.O_RDONLY | flags)
        self._peer_inbox = os.open(self._spec["peer_inbox"], os.O_WRONLY | flags)
        self.loop.watch(self._inbox, select.EPOLLIN, self._read_inbox)

    def _read_inbox(self) -> None:
        content = os.read(self._inbox, MESSAGES_BYTES)
        if not content:  # nobody is left who could want our results
            self._is_stopped = True
        for (number,) in MESSAGE.iter_unpack(content):
            if number == STOP:
                self._is_stopped = True
            elif number >= 0:
                self._start(number)
            elif -1 - number in self._left:
                self._end(-1 - number)

    def _prepare(self) -> None:
        """Make the sockets of all nodes; they stay in the namespaces they are made in."""
        for node in sorted(self._spec["namespaces"]):
            clients = self._clients_of.get(node, [])
            servers = {f.port: f for f in self._servers_of.get(node, [])}
            if clients or servers:
                enter_namespace(self._spec["namespaces"][node])
            self._clients |= {flow.id: make_socket(flow) for flow in clients}
            for flow in servers.values():
                listener = make_listener(flow)
                self._listeners.append(listener)
                self.loop.watch(listener.fileno(), select.EPOLLIN, partial(self._accept, listener))

    # Connecting

    def _start(self, start_ns: int) -> None:
        self.start_ns = start_ns
        for number in self._clients:
            flow = self.flows[number]
            self.loop.at(self.time_ns(flow.start_s), partial(self._connect, flow))

    def time_ns(self, t_s: float) -> int:
        """Return a time of the run as a time of the monotonic clock."""
        return self.start_ns + round(t_s * NS_PER_S)

    def _connect(self, flow: Flow) -> None:
        if flow.id not in self._left:
            return
        client = self._clients[flow.id]
        self._connected[flow.id] = client
        self.reports[flow.id]["started_ns"] = time.monotonic_ns()
        try:
            if flow.source_address:
                client.bind((flow.source_address, 0))
            code = client.connect_ex((flow.address, flow.port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError as error:
            self.fail(flow, f"cannot connect to {flow.address}:{flow.port}: {reason(error)}")
            return
        self.loop.watch(client.fileno(), select.EPOLLOUT, partial(self._greet, flow))
        if flow.duration_s is not None:
            self.loop.at(self.time_ns(flow.start_s + flow.duration_s), partial(self._give_up, flow))

    def _greet(self, flow: Flow) -> None:
        client = self._connected[flow.id]
        code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if code:
                raise OSError(code, os.strerror(code))
            client.send(GREETING.pack(GREETING_WORD, flow.id))
        except OSError as error:
            self.fail(flow, f"cannot connect to {flow.address}:{flow.port}: {reason(error)}")
            return
        self._open(flow, client)

    def _give_up(self, flow: Flow) -> None:
        if flow.id in self._left and "opened_ns" not in self.reports[flow.id]:
            self.fail(flow, f"did not reach {flow.address}:{flow.port} in its time")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # reset before we took it: its client knows
                continue
            connection.setblocking(False)
            self.loop.watch(
                connection.fileno(), select.EPOLLIN, partial(self._read_greeting, connection)
            )

    def _read_greeting(self, connection: socket.socket) -> None:
        self.loop.unwatch(connection.fileno())
        try:
            word, number = GREETING.unpack(connection.recv(GREETING.size))
        except (OSError, struct.error):
            word, number = b"", -1
        if word != GREETING_WORD or number not in self._left or number in self._connected:
            connection.close()
            return
        self._connected[number] = connection
        self._open(self.flows[number], connection)

    def _open(self, flow: Flow, connection: socket.socket) -> None:
        self.reports[flow.id]["opened_ns"] = time.monotonic_ns()
        try:
            self.opened(flow, connection)
        except OSError as error:
            self.fail(flow, reason(error))

    # Ending

    def is_ended(self, flow: Flow) -> bool:
        """Say whether a flow has ended or failed."""
        return flow.id not in self._left

    def done(self, flow: Flow) -> None:
        """Close the connection of a flow that has ended well."""
        self._end(flow.id)

    def fail(self, flow: Flow, error: str) -> None:
        """Close the connection of a flow that has failed, and tell the other side."""
        self.reports[flow.id]["error"] = error
        os.write(self._peer_inbox, MESSAGE.pack(-1 - flow.id))
        self._end(flow.id)

    def _end(self, number: int) -> None:
        self._left.discard(number)
        connection = self._connected.pop(number, None)
        if connection is not None:
            self._describe(number, connection)
            self.loop.unwatch(connection.fileno())
            connection.close()

    def _describe(self, number: int, connection: socket.socket) -> None:
        if "opened_ns" in self.reports[number]:
            self.reports[number] |= transport_facts(connection)


def run_side(kind: type[Side]) -> NoReturn:
    """Carry out one side; the argument is the file with its spec. Errors go to standard error."""
    try:
        kind(json.loads(Path(sys.argv[1]).read_text())).carry_out()
    except TestbedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{reason(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
