# SPDX-License-Identifier: Apache-2.0
"""A virtual machine moves to another datacenter while one peer downloads from it and another
uploads to it.

The machine is a namespace with its processes. Its memory is real traffic between the two hosts;
when little enough is left, its processes are frozen and its interface is silent until the rest has
arrived; then it goes on behind its new address. raw/migration.json says what happened when,
raw/migrate.<flow>.reads.bin what each receiver read when.
"""

import json
import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from testbed.emulation.freezer import Freezer
from testbed.emulation.network import Network
from testbed.emulation.tunnel import Tunnel
from testbed.netlink.mptcp_events import Event
from testbed.rundir import write_json
from testbed.workloads.base import Stage, Workload
from testbed.workloads.programs import Programs

SIDES = ("peer", "machine")


class MigrateWorkload(Workload):
    """The transfers, the two hosts and the steps of a migration."""

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._programs = Programs("migrate", network, raw)
        self._peers = [f"{flow['name']}.{side}" for flow in plan["flows"] for side in SIDES]
        self._story: dict[str, Any] = {"variant": plan["variant"], "rounds": [], "outcome": None}
        self._tunnel = Tunnel(network, plan["tunnel"]) if plan["tunnel"] else None
        self._unread = b""
        self._is_alone = False  # at its new address, without the tunnel

    def start_servers(self, stack: ExitStack) -> None:
        """Start every process; return when all that serve do."""
        self._programs.open(stack)
        self._freezer = Freezer()
        stack.callback(self._freezer.close)
        self._story["freezer"] = self._freezer.method
        self._pipes = {name: self._pipe(stack) for name in ("start", "say", "hear")}
        if self._tunnel is not None:
            self._tunnel.make()
        for name, module, spec in self._wanted():
            process = self._programs.start(name, module, spec, stack)
            if spec["node"] == self._plan["machine"]:
                self._freezer.add(process.pid)
        for name in self._peers:
            self._programs.watch(name, stack)
        self._programs.wait_until_ready(self._programs.processes)
        self._programs.ended.register(self._pipes["say"][0], select.EPOLLIN)

    def _pipe(self, stack: ExitStack) -> tuple[int, int]:
        ends = os.pipe2(os.O_CLOEXEC)
        for fd in ends:
            stack.callback(os.close, fd)
        os.set_blocking(ends[0], False)
        return ends

    def _wanted(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return name, module and spec of each program, in the order in which they start."""
        own = f"/proc/{os.getpid()}/fd"
        pipes = {
            "start": f"{own}/{self._pipes['start'][0]}",
            "say": f"{own}/{self._pipes['say'][1]}",
            "hear": f"{own}/{self._pipes['hear'][0]}",
        }
        found: list[tuple[str, str, dict[str, Any]]] = [
            ("host_b", "precopy_host", {**self._plan["hosts"][1], "is_receiving": True}),
            ("host_a", "precopy_host", {**self._plan["hosts"][0], "is_receiving": False, **pipes}),
        ]
        if self._plan["proxy"]:
            found.insert(0, ("proxy", "migrate_proxy", self._plan["proxy"]))
        for flow in self._plan["flows"]:
            ends = [("peer", flow["peer"]), ("machine", flow["machine"])]
            for side, spec in ends:
                name = f"{flow['name']}.{side}"
                files = {"reads": str(self._raw / f"migrate.{flow['name']}.reads.bin")}
                shared = {"seed": flow["seed"], "transport": spec["transport"]}
                found.append((name, "migrate_peer", {**spec, **shared, **files, **pipes}))
        return found

    def prepare(self, stage: Stage) -> None:
        """Enter the time at which the migration begins."""
        self._stage = stage
        at_ns = stage.start_ns + round(self._plan["at_s"] * 1e9)
        stage.timetable.at(at_ns, self._begin)
        if stage.manager is not None:
            stage.manager.listener = self._hear_of_subflow

    def start(self, stack: ExitStack) -> None:
        """Let the machine connect to its peers."""
        os.write(self._pipes["start"][1], b"\0" * len(self._plan["flows"]))

    def watched(self) -> list[int]:
        """Return a descriptor for what the migration says and for the end of a transfer."""
        return [self._programs.ended.fileno()]

    def is_done(self) -> bool:
        """Act upon what the migration says; say whether both transfers have ended.

        Raises:
            CommandError: a program failed.
        """
        for fd, _ in self._programs.ended.poll(0):
            if fd == self._pipes["say"][0]:
                self._read_news()
            else:
                self._programs.ended.unregister(fd)
        self._programs.check()
        return self._programs.have_ended(self._peers)

    # The migration

    def _begin(self) -> None:
        self._story["started_s"] = self._now_s()
        os.write(self._pipes["hear"][1], b"begin\n")

    def _read_news(self) -> None:
        with suppress(BlockingIOError):
            self._unread += os.read(self._pipes["say"][0], 1 << 16)
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            news = json.loads(line)
            NEWS[news["what"]](self, news)

    def _note_round(self, news: dict[str, Any]) -> None:
        started_s, ended_s = (self._seconds(news[name]) for name in ("started_ns", "t_ns"))
        done = {"bytes": news["bytes"], "left_bytes": news["left_bytes"]}
        self._story["rounds"].append({"started_s": started_s, "ended_s": ended_s, **done})

    def _stop_machine(self, news: dict[str, Any]) -> None:
        """Freeze the processes and silence the interface, and let the rest be copied."""
        self._story["has_converged"] = news["what"] == "converged"
        self._freezer.freeze()
        self._story["stopped_s"] = self._now_s()
        self._change("b", rate_bps=0)
        self._change("a", is_up=False)
        if self._tunnel is not None:
            self._tunnel.use()
            self._stage.client.leave_by("a", "b")
        self._phase("stopped")
        os.write(self._pipes["hear"][1], b"go\n")

    def _resume_machine(self, news: dict[str, Any]) -> None:
        """Let the machine go on where it is now, behind its new address if it has one."""
        self._story["copied_bytes"] = news["bytes"]
        client, address = self._stage.client, self._plan["new_address"]
        if self._tunnel is None:
            client.address_gone("a")
        if address is not None:
            client.address_back("b", address)
        self._change("b", rate_bps=self._plan["rate_bps"])
        self._freezer.thaw()
        self._story["resumed_s"] = self._now_s()
        self._story["outcome"] = "moved"
        for name in self._plan["told_of_move"]:
            self._programs.signal(name, signal.SIGUSR2)
        self._phase("resumed")
        if self._is_kernels():
            at_ns = time.monotonic_ns() + round(self._plan["tunnel_s"] * 1e9)
            self._stage.timetable.at(at_ns, self._leave_tunnel)
        self._end_after_a_while()

    def _is_kernels(self) -> bool:
        """Say whether the kernel's own path manager has MPTCP connections to move."""
        return self._plan["transport"] == "mptcp" and self._stage.manager is None

    def _give_up(self, news: dict[str, Any]) -> None:
        """Leave the machine where it is, or where it never arrived."""
        self._story |= {"outcome": "failed", "why": news["why"], "failed_s": self._now_s()}
        if "stopped_s" in self._story:  # its host still has it
            if self._tunnel is not None:
                self._tunnel.remove()
                self._stage.client.leave_by("a", "a")
            self._change("a", is_up=True)
            self._freezer.thaw()
        self._end_after_a_while()

    def _end_after_a_while(self) -> None:
        at_ns = time.monotonic_ns() + round(self._plan["tail_s"] * 1e9)
        self._stage.timetable.at(at_ns, self._end_transfers)

    def _end_transfers(self) -> None:
        """Let the senders end their streams; what is on its way arrives, if it can."""
        self._story["ending_s"] = self._now_s()
        for flow in self._plan["flows"]:
            side = "machine" if flow["name"] == "download" else "peer"
            self._programs.signal(f"{flow['name']}.{side}", signal.SIGUSR1)

    def _hear_of_subflow(self, event: Event) -> None:
        """Take the tunnel away when nothing needs it any more."""
        has_moved = self._story["outcome"] == "moved" and self._plan["new_address"] is not None
        if event.kind == "subflow_established" and has_moved:
            self._story.setdefault("joined_s", []).append(self._now_s())
        is_used = self._stage.manager is not None and self._stage.manager.uses("a")
        if has_moved and not is_used:
            self._leave_tunnel()

    def _leave_tunnel(self) -> None:
        if self._tunnel is not None and not self._is_alone:
            self._is_alone = True
            self._story["tunnel_removed_s"] = self._now_s()
            self._tunnel.remove()
            self._stage.client.address_gone("a")

    def _change(self, link: str, **values: Any) -> None:
        for direction in ("a_to_b", "b_to_a"):
            self._stage.change({"change": "link", "link": link, "direction": direction, **values})

    def _phase(self, name: str) -> None:
        if self._stage.manager is not None:
            self._stage.manager.phase(name)

    def _now_s(self) -> float:
        return self._seconds(time.monotonic_ns())

    def _seconds(self, t_ns: int) -> float:
        return (t_ns - self._stage.start_ns) / 1e9

    # The end

    def stop(self) -> None:
        """Cut off the transfers that go on; each says how far it came."""
        self._freezer.thaw()
        self._programs.cut_off(self._peers)

    def result(self) -> dict[str, Any]:
        """Say what became of each connection and of the migration.

        The exit status is 0 whatever became of them: it is what the run is to show.
        """
        write_json(self._raw / "migration.json", self._story)
        flows = [self._flow_result(flow["name"]) for flow in self._plan["flows"]]
        write_json(self._raw / "migrate.json", {"flows": flows})
        return {"exit_status": 0, "flows": flows, "migration": self._story}

    def _flow_result(self, name: str) -> dict[str, Any]:
        peer, machine = f"{name}.peer", f"{name}.machine"
        ends = (machine, peer) if name == "download" else (peer, machine)
        return self._programs.transfer(name, *ends, client=ends[0])


NEWS = {
    "round": MigrateWorkload._note_round,
    "converged": MigrateWorkload._stop_machine,
    "limit": MigrateWorkload._stop_machine,
    "copied": MigrateWorkload._resume_machine,
    "failed": MigrateWorkload._give_up,
}
