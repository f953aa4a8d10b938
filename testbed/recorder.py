# SPDX-License-Identifier: Apache-2.0
"""Everything that a run records, from the captures to how busy the machine was."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.collectors.link_counters import LinkSampler, record_links
from testbed.collectors.machine import INTERVAL_S, MachineCollector, record_timers
from testbed.collectors.mptcp_events import MptcpEventsCollector
from testbed.collectors.nstat import record_counters
from testbed.collectors.pcap import start_capture, wait_until_capturing
from testbed.collectors.probes import Probes
from testbed.collectors.ss import SsCollector
from testbed.collectors.ss_text import FIRST_S, SsText
from testbed.emulation.network import Network
from testbed.process import Background
from testbed.timetable import Timetable, step_ns


class Recorder:
    """The collectors of one run.

    Args:
        plan: the content of run.json.
        network: the live network.
        raw: the folder that they fill.
    """

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        self._plan = plan
        self._network = network
        self._raw = raw
        self._samplers: list[SsCollector] = []
        self._texts: list[SsText] = []
        self._machine: MachineCollector | None = None

    def start_captures(self, stack: ExitStack) -> None:
        """Start all captures, and return when each has begun."""
        for capture in [self._start_capture(stack, one) for one in self._plan["captures"]]:
            wait_until_capturing(capture)

    def _start_capture(self, stack: ExitStack, wanted: dict[str, Any]) -> Background:
        node, file = self._network.nodes[wanted["node"]], self._raw / wanted["file"]
        interface, expression = self._network.capture_place(node.name, wanted["interface"])
        capture = start_capture(node, interface, file, wanted["snap_bytes"], expression)
        return stack.enter_context(capture)

    def start(self, stack: ExitStack) -> list[MptcpEventsCollector]:
        """Get ready to sample sockets; return what has to be read when there is something."""
        collectors, nodes = self._plan["collectors"], self._network.nodes
        for name in collectors["ss"]["nodes"]:
            self._samplers.append(SsCollector(nodes[name], self._raw / f"{name}.ss.bin"))
            stack.callback(self._samplers[-1].close)
        written = collectors.get("ss_text", collectors["ss"])["nodes"]
        self._texts = [SsText(nodes[name], self._raw) for name in written]
        listeners = []
        for name in collectors["mptcp_events"]["nodes"]:
            events = MptcpEventsCollector(nodes[name], self._raw / f"{name}.mptcp_events.bin")
            stack.callback(events.close)
            listeners.append(events)
        return listeners

    def record(self, when: str) -> None:
        """Write the counters of hosts and links, "start" or "end"."""
        for name in self._plan["collectors"]["nstat"]["nodes"]:
            record_counters(self._network.nodes[name], self._raw / f"{name}.nstat.{when}.txt")
        self.record_links(when)

    def record_links(self, when: str) -> None:
        """Write the counters of links."""
        record_links(self._network, self._raw / f"links.{when}.json")

    def write_texts(self, when: str) -> None:
        """Write the sockets as `ss` shows them."""
        for text in self._texts:
            text.write(when)

    def watch_machine(self, start_ns: int, stack: ExitStack) -> list[tuple[int, int]]:
        """Record how well the machine keeps up; return where to note what is late."""
        late: list[tuple[int, int]] = []
        self._machine = MachineCollector(self._raw / "machine.jsonl", start_ns)
        stack.callback(self._machine.close)
        stack.callback(record_timers, late, start_ns, self._raw / "timers.json")
        return late

    def open_links(self, start_ns: int, stack: ExitStack) -> None:
        """Get ready to sample the links."""
        self._links = LinkSampler(self._network, self._raw / "links.jsonl", start_ns)
        stack.callback(self._links.close)

    def sample_links(self) -> None:
        """Sample the links now."""
        self._links.sample()

    def enter(self, timetable: Timetable, start_ns: int) -> None:
        """Enter all that is sampled again and again into the timetable."""
        collectors = self._plan["collectors"]
        for sampler in self._samplers:
            timetable.every(start_ns, step_ns(collectors["ss"]["interval_s"]), sampler.sample)
        timetable.every(start_ns, step_ns(collectors["links"]["interval_s"]), self._links.sample)
        if self._machine is not None:
            timetable.every(start_ns, step_ns(INTERVAL_S), self._machine.sample)
            return  # a process is slow to start, and in real time would hold up what is due
        at_s, when = FIRST_S, "start"
        while at_s < self._plan["duration_s"]:  # at 1, 2, 4, ... s
            timetable.at(start_ns + step_ns(at_s), partial(self.write_texts, when))
            at_s, when = 2 * at_s, "middle"

    def probe(
        self,
        address_of: Callable[[str], str],
        timetable: Timetable,
        start_ns: int,
        interval_s: float,
        stack: ExitStack,
    ) -> None:
        """Ask for echoes over every path during the run."""
        paths, file = self._plan["topology"]["paths"], self._raw / "probes.bin"
        probes = Probes(self._network, paths, address_of, file)
        stack.callback(probes.close)
        probes.start(timetable, start_ns, interval_s)
