# SPDX-License-Identifier: Apache-2.0
"""A download whose connection is led through a middlebox, or away from one, while it goes on.

The middleboxes are nftables rules on routers, and a proxy is a program there too. What they counted
is in raw/<node>.nft.json, what an inspector has logged in raw/<node>.inspector.bin, what the client
read when in raw/migrate.download.reads.bin.
"""

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from testbed.emulation.network import Network
from testbed.emulation.nftables import Inspector, add_rules, record_rules
from testbed.workloads.base import Stage, Workload
from testbed.workloads.programs import Programs

ENDS = ("server", "receiver")


class MiddleboxWorkload(Workload):
    """The two ends of the download."""

    tools: ClassVar[tuple[str, ...]] = ("nft",)

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._programs = Programs("middlebox", network, raw)
        self._inspectors: list[Inspector] = []

    def start_servers(self, stack: ExitStack) -> None:
        """Add the middleboxes' rules and start both ends; return when they are ready."""
        for node, rules in self._plan["middleboxes"].items():
            add_rules(self._network.nodes[node], rules)
        self._programs.open(stack)
        self._begin = os.pipe2(os.O_CLOEXEC)
        for fd in self._begin:
            stack.callback(os.close, fd)
        self._start_inspectors(stack)
        if self._plan["proxy"]:
            self._start("proxy", "middlebox_proxy", stack)
        for end in ENDS:
            self._start(end, "migrate_peer", stack)
            self._programs.watch(end, stack)

    def _start(self, name: str, module: str, stack: ExitStack) -> None:
        begin = f"/proc/{os.getpid()}/fd/{self._begin[0]}"
        reads = str(self._raw / "migrate.download.reads.bin")
        spec = {**self._plan[name], "start": begin, "reads": reads}
        self._programs.start(name, module, spec, stack)
        self._programs.wait_until_ready([name])

    def _start_inspectors(self, stack: ExitStack) -> None:
        for name in self._plan["logs"]:
            file = self._raw / f"{name}.inspector.bin"
            made = Inspector(self._network.nodes[name], self._plan["log_family"], file)
            stack.callback(made.close)
            self._inspectors.append(made)

    def prepare(self, stage: Stage) -> None:
        """Enter the time at which the transfer ends."""
        stage.timetable.at(stage.start_ns + round(self._plan["end_s"] * 1e9), self._end)
        step_ns = round(self._plan["log_interval_s"] * 1e9)
        for inspector in self._inspectors:
            stage.timetable.every(stage.start_ns, step_ns, inspector.sample)

    def start(self, stack: ExitStack) -> None:
        """Let the client connect."""
        os.write(self._begin[1], b"\0")

    def _end(self) -> None:
        self._programs.signal("server", signal.SIGUSR1)

    def watched(self) -> list[int]:
        """Return a descriptor for the end of either."""
        return [self._programs.ended.fileno()]

    def is_done(self) -> bool:
        """Say whether both have ended.

        Raises:
            CommandError: one failed.
        """
        for fd, _ in self._programs.ended.poll(0):
            self._programs.ended.unregister(fd)
        self._programs.check()
        return self._programs.have_ended(ENDS)

    def stop(self) -> None:
        """Cut off what goes on, and write what the middleboxes counted."""
        for inspector in self._inspectors:
            inspector.sample()
        self._programs.cut_off(ENDS)
        for node in self._plan["middleboxes"]:
            record_rules(self._network.nodes[node], self._raw / f"{node}.nft.json")

    def result(self) -> dict[str, Any]:
        """Say what arrived, and how the connection ended."""
        flow = self._programs.transfer("download", *ENDS, client="receiver")
        return {"exit_status": 0, "flows": [flow]}
