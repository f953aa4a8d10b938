# SPDX-License-Identifier: Apache-2.0
"""Runs one run on this machine: python3 -m testbed.runner run.json OUTDIR

prepare -> start -> measure -> stop. Standard output carries one JSON object per line about the
progress; what was measured goes to OUTDIR/raw and OUTDIR/target.json. Standard library only.
"""

import heapq
import itertools
import json
import os
import platform
import select
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.collectors.link_counters import record_links
from testbed.collectors.nstat import record_counters
from testbed.collectors.pcap import start_capture, wait_until_capturing
from testbed.collectors.ss import SsCollector
from testbed.emulation.events import Changer
from testbed.emulation.mptcp import MultipathClient, set_limits, sysctls
from testbed.emulation.namespace import read_sysctl
from testbed.emulation.network import Network
from testbed.errors import CommandError, PrerequisiteError, TestbedError
from testbed.process import Background, run
from testbed.rundir import write_json
from testbed.workloads import WORKLOADS

VERSION_ARGV = {
    "curl": ["curl", "--version"],
    "mptcpize": ["mptcpize", "--version"],
    "squid": ["squid", "-v"],
    "tcpdump": ["tcpdump", "--version"],
}
PROGRESS_STEP_S = 1.0

# What tcpdump has not read when it ends is lost; reading takes it no virtual time.
CAPTURE_DRAIN_S = 0.1

# A run begins with a second of the clock, so that what came before it does not shift it: how
# long Python takes to start depends on how its files lie on this machine, by a tick or two.
START_STEP_NS = 1_000_000_000


class Timetable:
    """Calls at exact times, in the order of time and, at equal times, of entry."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Enter a call at a time of the monotonic clock."""
        heapq.heappush(self._heap, (time_ns, next(self._order), call))

    def every(self, start_ns: int, step_ns: int, call: Callable[[], None]) -> None:
        """Enter a call that is repeated."""

        def again() -> None:
            call()
            self.every(start_ns + step_ns, step_ns, call)

        self.at(start_ns, again)

    def next_ns(self) -> int | None:
        """Return the time of the next call."""
        return self._heap[0][0] if self._heap else None

    def call_due(self, now_ns: int) -> None:
        """Make the calls whose time has come."""
        while self._heap and self._heap[0][0] <= now_ns:
            heapq.heappop(self._heap)[2]()


class Run:
    """One run.

    Args:
        plan: the content of run.json.
        folder: the run directory.
    """

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._raw = folder / "raw"
        self._start_ns = 0
        self._event_log: list[dict[str, Any]] = []

    def carry_out(self) -> None:
        """Go through all stages and write target.json last."""
        self._raw.mkdir(exist_ok=True)
        self._prepare()
        facts: dict[str, Any] = {
            "kernel": {"release": platform.release()},
            "tools": tool_versions(),
        }
        with ExitStack() as stack:
            facts["measured"] = self._measure(stack)
        make_durable(self._raw)
        facts["sysctls"] = self._sysctls()
        facts["events"] = self._event_log
        write_json(self._folder / "target.json", facts)

    def _prepare(self) -> None:
        report("prepare")
        require_tools([*WORKLOAD_TOOLS[self._plan["workload"]["name"]], "tcpdump"])
        wanted = {"*": sysctls(self._plan["mptcp"]) | self._plan["sysctls"]}
        self._network = Network(self._plan["topology"], wanted)
        self._network.build()
        set_limits(self._network.nodes, self._plan["mptcp"]["limits"])
        paths = self._plan["topology"]["paths"]
        flags = tuple(self._plan["mptcp"]["endpoint_flags"])
        self._client = MultipathClient(self._network, paths, flags)
        self._client.set_up()
        kind = WORKLOADS[self._plan["workload"]["name"]]
        self._workload = kind(self._plan["workload"], self._network, self._raw)

    def _measure(self, stack: ExitStack) -> dict[str, Any]:
        report("start")
        captures = stack.enter_context(ExitStack())
        self._start_captures(captures)
        samplers = self._start_samplers(stack)
        self._workload.start_servers(stack)
        self._record("start")
        self._start_ns = (time.monotonic_ns() // START_STEP_NS + 1) * START_STEP_NS
        unix_ns = time.time_ns() - time.monotonic_ns() + self._start_ns
        timetable = self._timetable(samplers)
        self._network.start_traces(self._start_ns)
        download: list[Background] = []
        timetable.at(self._start_ns, lambda: download.append(self._workload.start(stack)))
        ended_ns = self._wait(timetable, download)
        self._record("end")
        report("stop", self._elapsed_s())
        time.sleep(CAPTURE_DRAIN_S)
        captures.close()
        return {
            "started_unix_s": unix_ns / 1e9,
            "virtual_s": (ended_ns - self._start_ns) / 1e9,
            "workload": {
                **self._workload.result(),
                "started_s": 0.0,
                "ended_s": (ended_ns - self._start_ns) / 1e9,
            },
        }

    def _start_captures(self, stack: ExitStack) -> None:
        captures = [
            stack.enter_context(
                start_capture(
                    self._network.nodes[wanted["node"]],
                    wanted["interface"],
                    self._raw / wanted["file"],
                )
            )
            for wanted in self._plan["captures"]
        ]
        for capture in captures:
            wait_until_capturing(capture)

    def _start_samplers(self, stack: ExitStack) -> list[SsCollector]:
        samplers = [
            SsCollector(self._network.nodes[name], self._raw / f"{name}.ss.bin")
            for name in self._plan["collectors"]["ss"]["nodes"]
        ]
        for sampler in samplers:
            stack.callback(sampler.close)
        return samplers

    def _record(self, when: str) -> None:
        for name in self._plan["collectors"]["nstat"]["nodes"]:
            record_counters(self._network.nodes[name], self._raw / f"{name}.nstat.{when}.txt")
        record_links(self._network, self._raw / f"links.{when}.json")

    def _timetable(self, samplers: list[SsCollector]) -> Timetable:
        timetable = Timetable()
        changer = Changer(self._network, self._client)
        for event in self._plan["events"]:
            timetable.at(
                self._start_ns + round(event["at_s"] * 1e9),
                partial(self._carry_out_event, changer, event),
            )
        step_ns = round(self._plan["collectors"]["ss"]["interval_s"] * 1e9)
        for sampler in samplers:
            timetable.every(self._start_ns, step_ns, sampler.sample)
        timetable.every(
            self._start_ns,
            round(PROGRESS_STEP_S * 1e9),
            lambda: report("measure", self._elapsed_s()),
        )
        return timetable

    def _carry_out_event(self, changer: Changer, event: dict[str, Any]) -> None:
        changer.carry_out(event)
        self._event_log.append({**event, "done_s": self._elapsed_s()})

    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9

    def _wait(self, timetable: Timetable, download: list[Background]) -> int:
        """Follow the timetable until the download ends or its time is up; return that time."""
        deadline_ns: int = self._start_ns + round(self._plan["duration_s"] * 1e9)
        pidfd = -1
        while (now := time.monotonic_ns()) < deadline_ns:
            timetable.call_due(now)
            if download and pidfd < 0:
                pidfd = os.pidfd_open(download[0].pid)
            due_ns = min(timetable.next_ns() or deadline_ns, deadline_ns)
            left_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
            if select.select([pidfd] if pidfd >= 0 else [], [], [], left_s)[0]:
                return time.monotonic_ns()
        return deadline_ns

    def _sysctls(self) -> dict[str, dict[str, str]]:
        found = {}
        for node in self._network.nodes.values():
            with node.namespace.inside():
                found[node.name] = {name: read_sysctl(name) for name in RECORDED_SYSCTLS}
        return found


RECORDED_SYSCTLS = (
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.mptcp.enabled",
    "net.mptcp.blackhole_timeout",
    "net.mptcp.path_manager",
    "net.mptcp.scheduler",
    "net.mptcp.stale_loss_cnt",
)
WORKLOAD_TOOLS = {"download": ("curl", "mptcpize", "squid")}


def require_tools(names: list[str]) -> None:
    """Refuse to start when a tool is missing, with all that are.

    Raises:
        PrerequisiteError: one or more are.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise PrerequisiteError(
            f"this machine has no {' and no '.join(missing)}; "
            f"install with 'apt-get install {' '.join(missing)}'"
        )


def tool_versions() -> dict[str, str]:
    """Return the first line of what each tool says of its version."""
    versions = {"python": platform.python_version()}
    for name, argv in VERSION_ARGV.items():
        try:
            versions[name] = run(argv, timeout_s=30).partition("\n")[0].strip()
        except TestbedError as error:
            versions[name] = str(error)
    return versions


def make_durable(folder: Path) -> None:
    """Write every file of a folder out, so that a full disk is noticed and not left to chance.

    Raises:
        CommandError: the results do not fit.
    """
    for path in sorted(folder.iterdir()):
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise CommandError(
                f"raw/{path.name} cannot be written: {(error.strerror or '').lower()}; "
                "make room in the results folder or choose another with --out"
            ) from error


def report(stage: str, t_s: float | None = None) -> None:
    """Tell the controller where we are."""
    print(json.dumps({"stage": stage, "t_s": t_s}), flush=True)


def main() -> None:
    """Run what the arguments name."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    try:
        Run(plan, Path(sys.argv[2])).carry_out()
    except TestbedError as error:
        print(json.dumps({"stage": "failed", "error": str(error)}), flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
