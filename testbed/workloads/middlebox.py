# SPDX-License-Identifier: Apache-2.0
"""A download whose connection is led through a middlebox, or away from one, while it goes on.

The middleboxes are nftables rules on routers. What they counted is in raw/<node>.nft.json, what
the client read when in raw/migrate.download.reads.bin.
"""

import json
import os
import select
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

from testbed.emulation.network import Network
from testbed.emulation.nftables import add_rules, record_rules
from testbed.errors import CommandError
from testbed.process import Background, ending, quoted_tail
from testbed.workloads.base import Stage, Workload

READY = b"ready"
READY_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 60.0
PACKAGE_FOLDER = Path(__file__).parents[2]
ENDS = ("server", "receiver")


class MiddleboxWorkload(Workload):
    """The two ends of the download."""

    tools: ClassVar[tuple[str, ...]] = ("nft",)

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._processes: dict[str, Background] = {}
        self._ended = select.epoll()

    def start_servers(self, stack: ExitStack) -> None:
        """Add the middleboxes' rules and start both ends; return when they are ready."""
        for node, rules in self._plan["middleboxes"].items():
            add_rules(self._network.nodes[node], rules)
        self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="middlebox-")))
        stack.callback(self._ended.close)
        self._begin = os.pipe2(os.O_CLOEXEC)
        for fd in self._begin:
            stack.callback(os.close, fd)
        for end in ENDS:
            self._start(end, stack)

    def _start(self, end: str, stack: ExitStack) -> None:
        spec = {
            **self._plan[end],
            "start": f"/proc/{os.getpid()}/fd/{self._begin[0]}",
            "results": str(self._scratch / f"{end}.json"),
            "reads": str(self._raw / "migrate.download.reads.bin"),
        }
        file = self._scratch / f"{end}.spec.json"
        file.write_text(json.dumps(spec))
        process = Background(
            [sys.executable, "-S", "-s", "-P", "-m", "testbed.workloads.migrate_peer", str(file)],
            stdout_path=self._scratch / f"{end}.out",
            stderr_path=self._raw / f"middlebox.{end}.err",
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            prepare=self._network.nodes[spec["node"]].namespace.enter,
        )
        self._processes[end] = stack.enter_context(process)
        process.wait_until(
            lambda: process.stdout_path.read_bytes().startswith(READY), timeout_s=READY_TIMEOUT_S
        )
        fd = os.pidfd_open(process.pid)
        stack.callback(os.close, fd)
        self._ended.register(fd, select.EPOLLIN)

    def prepare(self, stage: Stage) -> None:
        """Enter the time at which the transfer ends."""
        self._start_ns = stage.start_ns
        stage.timetable.at(stage.start_ns + round(self._plan["end_s"] * 1e9), self._end)

    def start(self, stack: ExitStack) -> None:
        """Let the client connect."""
        os.write(self._begin[1], b"\0")

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._processes["server"].pid, signal.SIGUSR1)

    def watched(self) -> list[int]:
        """Return a descriptor for the end of either."""
        return [self._ended.fileno()]

    def is_done(self) -> bool:
        """Say whether both have ended.

        Raises:
            CommandError: one failed.
        """
        for fd, _ in self._ended.poll(0):
            self._ended.unregister(fd)
        self._check()
        return all(process.returncode is not None for process in self._processes.values())

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.returncode:
                said = process.stderr_path.read_text(errors="replace")
                raise CommandError(f"the {name} {ending(process.returncode)}{quoted_tail(said)}")

    def stop(self) -> None:
        """Cut off what goes on, and write what the middleboxes counted."""
        self._ended_s = (time.monotonic_ns() - self._start_ns) / 1e9
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            process.wait(timeout_s=STOP_TIMEOUT_S)
        self._check()
        for node in self._plan["middleboxes"]:
            record_rules(self._network.nodes[node], self._raw / f"{node}.nft.json")

    def result(self) -> dict[str, Any]:
        """Say what arrived, and how the connection ended."""
        sent, received = (json.loads((self._scratch / f"{end}.json").read_text()) for end in ENDS)
        flow = {
            "name": "download",
            "sent_bytes": sent["bytes"],
            "received_bytes": received["bytes"],
            "sent_sha256": sent["sha256"],
            "received_sha256": received["sha256"],
            "sender": sent["how"],
            "receiver": received["how"],
            "is_mptcp": received.get("is_mptcp"),
        }
        return {"exit_status": 0, "flows": [flow]}
