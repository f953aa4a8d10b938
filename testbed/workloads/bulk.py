# SPDX-License-Identifier: Apache-2.0
"""Many flows from two processes of our own: one sends for all nodes, one receives for all.

The receiver's count is the result. With "record_blocks", raw/bulk.0.blocks.bin has one record
`struct "<IIQQ"` per block: flow, size in bytes, Unix times in ns when the sender had it and when
the receiver had all of it. raw/bulk.json has what result() says.
"""

import contextlib
import json
import os
import select
import struct
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.errors import CommandError, PrerequisiteError, TestbedError
from testbed.process import Background, ending, quoted_tail
from testbed.rundir import write_json
from testbed.workloads.base import Workload
from testbed.workloads.bulk_flow import BITS, NS_PER_S, Flow, read_flows

SIDES = ("receiver", "sender")
READY = b"ready"
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
MESSAGE = struct.Struct("<q")
STOP = -(1 << 63)
PACKAGE_FOLDER = Path(__file__).parents[2]


class BulkWorkload(Workload):
    """The two processes of all flows."""

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._flows = read_flows(plan)
        self._processes: dict[str, Background] = {}
        self._inboxes: dict[str, tuple[int, int]] = {}
        self._ended = select.epoll()
        self._watched: dict[str, int] = {}

    def start_servers(self, stack: ExitStack) -> None:
        """Start both processes and return when all servers listen."""
        self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-")))
        stack.callback(self._ended.close)
        for side in SIDES:
            self._inboxes[side] = os.pipe2(os.O_CLOEXEC)
            for fd in self._inboxes[side]:
                stack.callback(os.close, fd)
        for side in SIDES:
            self._start_side(side, stack)
        for side, process in self._processes.items():
            self._wait_until_ready(side, process)

    def _start_side(self, side: str, stack: ExitStack) -> None:
        spec = self._scratch / f"{side}.spec.json"
        spec.write_text(json.dumps(self._spec(side)))
        module = f"testbed.workloads.bulk_{side}"
        process = Background(
            [sys.executable, "-S", "-s", "-P", "-m", module, str(spec)],
            # Not into raw: when that is full they have to say so.
            stdout_path=self._scratch / f"{side}.out",
            stderr_path=self._scratch / f"{side}.err",
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        )
        self._processes[side] = stack.enter_context(process)
        self._watched[side] = os.pidfd_open(process.pid)
        stack.callback(os.close, self._watched[side])
        self._ended.register(self._watched[side], select.EPOLLIN)

    def _spec(self, side: str) -> dict[str, Any]:
        """Return what a process needs; it opens our descriptors by their paths in /proc."""
        own = f"/proc/{os.getpid()}/fd"
        peer = next(other for other in SIDES if other != side)
        used = {node for flow in self._flows for node in (flow.client, flow.server)}
        return {
            "plan": self._plan,
            "namespaces": {
                node: f"{own}/{self._network.nodes[node].namespace.fd}" for node in sorted(used)
            },
            "inbox": f"{own}/{self._inboxes[side][0]}",
            "peer_inbox": f"{own}/{self._inboxes[peer][1]}",
            "results": str(self._scratch / f"{side}.json"),
            "blocks": str(self._raw / "bulk.0.blocks.bin"),
        }

    def _wait_until_ready(self, side: str, process: Background) -> None:
        try:
            process.wait_until(partial(_says_ready, process.stdout_path), timeout_s=READY_TIMEOUT_S)
        except CommandError as error:
            raise self._failure(side) or error from None

    def start(self, stack: ExitStack) -> None:
        """Let the flows start, each at its time from now."""
        self._send(time.monotonic_ns())

    def _send(self, number: int) -> None:
        for _, inbox in self._inboxes.values():
            os.write(inbox, MESSAGE.pack(number))

    def watched(self) -> list[int]:
        """Return one descriptor for the end of either process."""
        return [self._ended.fileno()]

    def is_done(self) -> bool:
        """Say whether every flow has ended.

        Raises:
            CommandError: a process failed or was ended.
            PrerequisiteError: the kernel lacks what a flow asks for.
        """
        for fd, _ in self._ended.poll(0):
            self._ended.unregister(fd)
        for side in SIDES:
            if failure := self._failure(side):
                raise failure
        return all(process.returncode is not None for process in self._processes.values())

    def _failure(self, side: str) -> TestbedError | None:
        """Return the sentence on a process that ended badly, in its own words if it has any."""
        process = self._processes[side]
        if not process.returncode:
            return None
        said = process.stderr_path.read_text(errors="replace")
        with contextlib.suppress(OSError):
            (self._raw / f"bulk.{side}.err").write_text(said)
        if process.returncode == PrerequisiteError.exit_code:
            return PrerequisiteError(said.strip())
        return CommandError(f"the bulk {side} {ending(process.returncode)}{quoted_tail(said)}")

    def stop(self) -> None:
        """Cut off what is still on its way; what has arrived until now counts.

        Raises:
            CommandError: a process failed.
        """
        self._send(STOP)
        for side, process in self._processes.items():
            process.wait(timeout_s=STOP_TIMEOUT_S)
            if failure := self._failure(side):
                raise failure

    def result(self) -> dict[str, Any]:
        """Stop what still runs and say what arrived, flow by flow.

        Raises:
            CommandError: a process failed.
        """
        self.stop()
        found = {side: json.loads((self._scratch / f"{side}.json").read_text()) for side in SIDES}
        result = merge_results(self._flows, found["sender"], found["receiver"])
        write_json(self._raw / "bulk.json", result)
        return result


def _says_ready(path: Path) -> bool:
    return path.read_bytes().startswith(READY)


def merge_results(
    flows: list[Flow], sender: dict[str, Any], receiver: dict[str, Any]
) -> dict[str, Any]:
    """Return what both processes say of all flows as one.

    exit_status is 0 when every flow ended as planned, 1 when one failed, and None when one of a
    size was still on its way.
    """
    start_ns = receiver["start_ns"]
    rows = [
        _flow_result(flow, sender["flows"][str(flow.id)], receiver["flows"][str(flow.id)], start_ns)
        for flow in flows
    ]
    status: int | None = 0
    if any(row["error"] for row in rows):
        status = 1
    elif any(not row["has_ended"] for row in rows):
        status = None
    return {
        "exit_status": status,
        "bytes": sum(row["bytes"] for row in rows),
        "receiver_wakeups": receiver["wakeups"],
        "sender_wakeups": sender["wakeups"],
        "flows": rows,
    }


def _flow_result(
    flow: Flow, sent: dict[str, Any], received: dict[str, Any], start_ns: int
) -> dict[str, Any]:
    both = {**sent, **received}
    times = {
        f"{name}_s": (both[f"{name}_ns"] - start_ns) / NS_PER_S if f"{name}_ns" in both else None
        for name in ("started", "opened", "first", "last", "stopped")
    }
    size = received.get("bytes", 0)
    was_mptcp = sent.get("is_mptcp", False) and received.get("is_mptcp", False)
    is_open = "opened_ns" in sent and "opened_ns" in received
    return {
        "id": flow.id,
        "bytes": size,
        "bytes_at_marks": received.get("marks", []),
        "sent_bytes": sent.get("sent_bytes", 0),
        **times,
        "goodput_mbps": _goodput_mbps(size, times["started_s"], times["last_s"]),
        "transport": flow.transport,
        "has_fallen_back": flow.transport == "mptcp" and is_open and not was_mptcp,
        "subflows": max(sent.get("subflows", 0), received.get("subflows", 0)),
        "has_ended": not received.get("is_unfinished") or (is_open and flow.size_bytes is None),
        "error": received.get("error") or sent.get("error"),
    }


def _goodput_mbps(size: int, started_s: float | None, last_s: float | None) -> float | None:
    """Return the goodput from the client's connect to the last byte."""
    if started_s is None or last_s is None or last_s <= started_s:
        return None
    return size * BITS / (last_s - started_s) / 1e6
