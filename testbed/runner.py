# SPDX-License-Identifier: Apache-2.0
"""Runs one run on this machine: python3 -m testbed.runner run.json OUTDIR

prepare -> start -> measure -> stop. Standard output carries one JSON object per line about the
progress; what was measured goes to OUTDIR/raw and OUTDIR/target.json. Standard library only.
"""

import json
import os
import select
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.collectors.base_rtt import measure_base_rtt
from testbed.collectors.mptcp_events import MptcpEventsCollector
from testbed.collectors.pcap import wait_until_capturing
from testbed.collectors.radio_capture import start_radio_capture
from testbed.emulation.events import Changer
from testbed.emulation.gate import Gate
from testbed.emulation.memory import OWN_KERNEL, fix_memory
from testbed.emulation.mptcp import (
    MultipathClient,
    add_endpoints,
    allow_control,
    check_known,
    set_limits,
    sysctls,
)
from testbed.emulation.network import Network
from testbed.emulation.path_manager import ScriptedPathManager
from testbed.emulation.wireless.daemons import TOOLS as RADIO_TOOLS
from testbed.emulation.wireless.network import WirelessNetwork
from testbed.emulation.wireless.nic import Nic
from testbed.emulation.wireless.station import Station
from testbed.errors import CommandError, TestbedError
from testbed.recorder import Recorder
from testbed.rundir import write_json
from testbed.target_facts import (
    REAL,
    clock,
    kernel_facts,
    make_durable,
    node_sysctls,
    require_tools,
    tool_versions,
)
from testbed.timetable import Timetable, new_timer, set_timer, step_ns
from testbed.workloads import workload_class
from testbed.workloads.base import Stage, Workload

COLLECTOR_TOOLS = ("tcpdump", "ss")

# "level" of run.json's "radio" at which there are radios, and not only links like theirs.
REAL_RADIOS = "mac80211"
CONGESTION_CONTROLS = "net.ipv4.tcp_available_congestion_control"
SCHEDULERS = "net.mptcp.available_schedulers"
PROGRESS_STEP_S = 1.0

# What tcpdump has not read when it ends is lost. It is woken once a second, so the network must
# have been silent for longer than that; what waits in a queue may take a while to arrive.
SILENCE_S, LONGEST_DRAIN_S = 1.5, 12.0

# A run begins with a second of the clock, so that what came before it does not shift it: how
# long Python takes to start depends on how its files lie on this machine, by a tick or two.
START_STEP_NS = 1_000_000_000


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
        self._listeners: dict[int, MptcpEventsCollector | ScriptedPathManager | Nic] = {}
        self._manager: ScriptedPathManager | None = None
        self._gate: Gate | None = None
        self._station: Station | None = None

    def carry_out(self) -> None:
        """Go through all stages and write target.json last."""
        self._raw.mkdir(exist_ok=True)
        with ExitStack() as stack:
            self._prepare(stack)
            facts: dict[str, Any] = {"kernel": kernel_facts()}
            facts["tools"] = tool_versions(self._tools())
            facts["measured"] = self._measure(stack)
        make_durable(self._raw)
        facts["sysctls"] = node_sysctls(self._network)
        facts["events"] = self._event_log
        facts["clock"], facts["links"] = clock(), self._network.link_kind.name
        write_json(self._folder / "target.json", facts)

    def _tools(self) -> list[str]:
        """Return the commands that this run needs."""
        kind = workload_class(self._plan["workload"]["name"])
        radio = RADIO_TOOLS if self._has_radios() else ()
        return [*kind.tools, *COLLECTOR_TOOLS, *radio]

    def _has_radios(self) -> bool:
        return bool((self._plan.get("radio") or {}).get("level") == REAL_RADIOS)

    def _prepare(self, stack: ExitStack) -> None:
        report("prepare")
        kind = workload_class(self._plan["workload"]["name"])
        require_tools(self._tools())
        mptcp, topology = self._plan["mptcp"], self._plan["topology"]
        for place, name, sysctl in (
            ("tcp.congestion_control", mptcp["congestion_control"], CONGESTION_CONTROLS),
            ("mptcp.scheduler", mptcp["scheduler"], SCHEDULERS),
        ):
            check_known(place, name, sysctl)
        asked = self._plan["sysctls"]
        wanted = {**asked, "*": sysctls(mptcp) | asked.get("*", {})}
        if OWN_KERNEL in os.environ:
            fix_memory(self._plan.get("memory_factor", 1))
            allow_control(mptcp["congestion_control"])
        self._network = self._make_network(topology, wanted)
        self._network.build()
        self._recorder = Recorder(self._plan, self._network, self._raw)
        set_limits(self._network.nodes, mptcp["limits"])
        add_endpoints(self._network, topology.get("endpoints", {}))
        self._client = self._make_client() if topology["paths"] else None
        paths = self._power_on(stack)
        measure_base_rtt(self._network, paths, self._raw / "paths.rtt.json")
        if self._client is not None:
            self._client.keep_only(self._plan["paths_at_start"])
        self._workload: Workload = kind(self._plan["workload"], self._network, self._raw)
        self._workload.address_of = self._client.address_of if self._client else None
        if (said := self._plan.get("path_manager")) and self._client is not None:
            log = self._raw / f"{said['node']}.path_manager.jsonl"
            paths = topology["paths"]
            self._manager = ScriptedPathManager(self._client, paths, said["script"], log)

    def _make_network(self, topology: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> Network:
        if self._has_radios():
            return WirelessNetwork(topology, wanted, self._plan["radio"])
        return Network(topology, wanted)

    def _power_on(self, stack: ExitStack) -> list[dict[str, Any]]:
        """Start radios, if there are any, and return the paths that lead somewhere now."""
        paths: list[dict[str, Any]] = self._plan["topology"]["paths"]
        if not isinstance(self._network, WirelessNetwork):
            return paths
        capture = stack.enter_context(start_radio_capture(self._raw))
        wait_until_capturing(capture)
        self._station = Station(self._network, self._raw)
        self._station.start(stack)
        self._listeners |= {nic.fileno(): nic for nic in self._station.listeners}
        return [path for path in paths if path["name"] in self._station.paths_at_start()]

    def _make_client(self) -> MultipathClient:
        """Return the node whose paths come and go, with all of them."""
        flags = {one["path"]: tuple(one["flags"]) for one in self._plan["endpoints"]}
        client = MultipathClient(self._network, self._plan["topology"]["paths"], flags)
        client.set_up()
        return client

    def _measure(self, stack: ExitStack) -> dict[str, Any]:
        report("start")
        captures = stack.enter_context(ExitStack())
        self._recorder.start_captures(captures)
        self._listeners |= {events.fileno(): events for events in self._recorder.start(stack)}
        if self._manager is not None:
            stack.callback(self._manager.close)
            self._listeners[self._manager.fileno()] = self._manager
        self._workload.start_servers(stack)
        self._recorder.record("start")
        self._start_ns = (time.monotonic_ns() // START_STEP_NS + 1) * START_STEP_NS
        unix_ns = time.time_ns() - time.monotonic_ns() + self._start_ns
        timetable = self._timetable(stack)
        self._network.start_traces(self._start_ns)
        timetable.at(self._start_ns, partial(self._workload.start, stack))
        ended_ns = self._wait(timetable)
        self._recorder.sample_links()
        self._workload.stop()
        self._recorder.record("end")
        counted_s = self._elapsed_s()
        self._recorder.write_texts("end")
        for turns in (self._gate, self._station):
            if turns is not None:
                turns.release()
        report("stop", self._elapsed_s())
        if self._plan["captures"] or self._plan.get("radio"):
            self._wait_for_silence()
        if self._gate is not None:
            self._gate.still()
            time.sleep(SILENCE_S)
        if self._plan.get("radio"):
            self._recorder.record_links("drained")
        captures.close()
        captured_s = self._elapsed_s()
        return {
            "started_unix_s": unix_ns / 1e9,
            "started_unix_ns": unix_ns,
            "virtual_s": (ended_ns - self._start_ns) / 1e9,
            "captured_s": captured_s,
            "counted_s": counted_s,
            "workload": {
                **self._workload.result(),
                "started_s": 0.0,
                "ended_s": (ended_ns - self._start_ns) / 1e9,
            },
        }

    def _wait_for_silence(self) -> None:
        """Return when no link has carried anything for a while, or its time is up."""
        before: Any = None
        for _ in range(round(LONGEST_DRAIN_S / SILENCE_S)):
            now = self._network.link_counters()
            if now == before:
                return
            before = now
            time.sleep(SILENCE_S)

    def _timetable(self, stack: ExitStack) -> Timetable:
        start_ns, is_real = self._start_ns, clock() == REAL
        late = self._recorder.watch_machine(start_ns, stack) if is_real else None
        timetable = Timetable(late)
        self._recorder.open_links(start_ns, stack)
        if radio := self._plan.get("radio"):
            self._start_radio(radio, timetable, stack)
        changer = Changer(self._network, self._client, self._gate)
        for event in self._plan["events"]:
            at_ns = start_ns + round(event["at_s"] * 1e9)
            timetable.at(at_ns, partial(self._carry_out_event, changer, event))
        for at_s, place, step in self._network.trace_steps(self._plan["duration_s"]):
            at_ns = start_ns + step_ns(at_s)
            timetable.at(at_ns, partial(self._network.change_link, *place, step))
        self._recorder.enter(timetable, start_ns)
        timetable.every(
            start_ns,
            step_ns(PROGRESS_STEP_S),
            lambda: report("measure", self._elapsed_s()),
        )
        if self._manager is not None:
            self._manager.start(timetable, start_ns)
        if self._client is not None:
            change = partial(self._carry_out_own, changer)
            if self._station is not None:
                self._station.enter(timetable, start_ns, self._client, change)
                self._station.air.before_change = self._recorder.sample_links
            self._workload.prepare(Stage(timetable, start_ns, self._client, self._manager, change))
        return timetable

    def _start_radio(self, radio: dict[str, Any], timetable: Timetable, stack: ExitStack) -> None:
        """Enter what a station's NIC does, and what is asked of it over the air."""
        if (radio["slots"] or radio["scans"]) and self._station is None:
            self._gate = Gate(self._network, radio, self._raw / "gate.jsonl")
            stack.callback(self._gate.close)
            self._gate.start(timetable, self._start_ns)
        if radio["probe_s"] and self._client is not None:
            address_of, interval_s = self._client.address_of, radio["probe_s"]
            self._recorder.probe(address_of, timetable, self._start_ns, interval_s, stack)

    def _carry_out_event(self, changer: Changer, event: dict[str, Any]) -> None:
        done_s = self._elapsed_s()
        if "link" in event:
            self._recorder.sample_links()  # so that no sample spans two rates
        changer.carry_out(event)
        self._event_log.append({**event, "done_s": done_s})
        self._workload.after_change(event)

    def _carry_out_own(self, changer: Changer, change: dict[str, Any]) -> None:
        """Carry out a change that the workload decides upon when it is due."""
        self._carry_out_event(
            changer, {**change, "at_s": self._elapsed_s(), "is_of_workload": True}
        )

    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9

    def _wait(self, timetable: Timetable) -> int:
        """Follow the timetable until the workload ends or its time is up; return that time."""
        deadline_ns: int = self._start_ns + step_ns(self._plan["duration_s"])
        timer = new_timer()
        while time.monotonic_ns() < deadline_ns:
            timetable.call_due(time.monotonic_ns())
            set_timer(timer, min(timetable.next_ns() or deadline_ns, deadline_ns))
            watched = self._workload.watched()
            ready, _, _ = select.select([timer, *watched, *self._listeners], [], [])
            for descriptor in ready:
                if descriptor in self._listeners:
                    self._listeners[descriptor].take()
            if not {*watched}.isdisjoint(ready):
                ended_ns = time.monotonic_ns()
                if self._workload.is_done():
                    return ended_ns
        return deadline_ns


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
    except OSError as error:
        if not error.filename:
            raise
        reason = (error.strerror or str(error)).lower()
        problem = CommandError(f"{Path(str(error.filename)).name} cannot be written: {reason}")
        print(json.dumps({"stage": "failed", "error": str(problem)}), flush=True)
        sys.exit(problem.exit_code)


if __name__ == "__main__":
    main()
