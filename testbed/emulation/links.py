# SPDX-License-Identifier: Apache-2.0
"""How one direction of a link is made: with the lab kernel's own discipline, or netem and tbf.

What the kernel has decides. Ordinary kernels have netem and tbf, whose fidelity is less:
- tbf sends what it has saved up in a burst of about 4 ms at the rate (netem.CATCH_UP_S);
- packets already on their way when a delay becomes shorter may be overtaken;
- a rate of zero lets one packet pass when it begins;
- a trace is followed in steps of 0.2 s (see trace_steps), not packet by packet;
- how long a link was busy is not counted.
"""

import os
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from testbed.emulation.node import Node
from testbed.emulation.trace_steps import rate_steps
from testbed.errors import BackendError
from testbed.netlink import netem, qdisc
from testbed.netlink.message import NetlinkSocket
from testbed.netlink.route import LOOPBACK_INDEX

LAB_LINK, NETEM = "lab_link", "netem"

# Set to NETEM: use that, whatever else the kernel has.
LINKS = "TESTBED_LINKS"

# For a link that once had a rate: a tbf cannot be taken away in place.
UNLIMITED_BPS = 100_000_000_000

# At less than this a queue sleeps for longer than 10 ms per packet.
SLEEPY_BPS = 1_200_000
ETH_P_802_EX1 = 0x88B5


class LinkKind(ABC):
    """A way to make one direction of a link on an interface."""

    name: str

    @abstractmethod
    def attach(
        self, node: Node, index: int, change: qdisc.LinkChange, what: str, *, replaces: bool
    ) -> None:
        """Make an interface of a node one direction of a link; the request is queued."""

    @abstractmethod
    def change(self, node: Node, index: int, change: qdisc.LinkChange, what: str) -> None:
        """Change it in place, now."""

    @abstractmethod
    def start_trace(
        self, node: Node, index: int, trace: dict[str, Any], start_ns: int, what: str
    ) -> None:
        """Let it follow a trace from a time of the monotonic clock on."""

    @abstractmethod
    def counters(self, node: Node) -> dict[int, dict[str, int]]:
        """Return the counters of all of a node's, by interface number."""

    def trace_steps(
        self, trace: dict[str, Any], duration_s: float
    ) -> list[tuple[float, qdisc.LinkChange]]:
        """Return the timed changes that somebody has to make for a trace; none if the kernel does.

        Args:
            trace: of one direction of a link.
            duration_s: of the run.
        """
        return []


def find_link_kind(rtnl: NetlinkSocket) -> LinkKind:
    """Return the best way that the kernel has.

    Args:
        rtnl: a socket of an empty namespace.
    """
    if os.environ.get(LINKS) == NETEM:
        return NetemLinks()
    try:
        rtnl.request(qdisc.new_lab_link(LOOPBACK_INDEX, qdisc.LinkChange()), "try lab_link")
    except BackendError:
        return NetemLinks()
    return LabLinks()


class LabLinks(LinkKind):
    """With sch_lab_link of the lab kernel."""

    name = LAB_LINK

    def attach(
        self, node: Node, index: int, change: qdisc.LinkChange, what: str, *, replaces: bool
    ) -> None:
        """Queue one request."""
        node.rtnl.add(qdisc.new_lab_link(index, change, replaces=replaces), what)

    def change(self, node: Node, index: int, change: qdisc.LinkChange, what: str) -> None:
        """Send one request."""
        node.rtnl.request(qdisc.change_lab_link(index, change.attrs()), what)

    def start_trace(
        self, node: Node, index: int, trace: dict[str, Any], start_ns: int, what: str
    ) -> None:
        """Load the trace into the kernel."""
        for options in qdisc.trace_options(trace["opportunities_ms"], trace["period_ms"], start_ns):
            node.rtnl.request(qdisc.change_lab_link(index, options), what)

    def counters(self, node: Node) -> dict[int, dict[str, int]]:
        """Return what lab_link counts."""
        return qdisc.lab_link_stats(node.rtnl.dump(qdisc.dump_qdiscs()))


@dataclass
class _State:
    """What one direction is now, and what earlier tbfs of it counted."""

    delay_s: float = 0.0
    loss_fraction: float = 0.0
    seed: int | None = None
    rate_bps: int | None = None
    queue_bytes: int | None = None
    is_up: bool = True
    tbf_number: int = 0
    dropped_full: int = 0
    dropped_down: int = 0
    drops_when_it_went_down: int = 0
    drops_that_are_known: int = 0
    max_backlog: int = 0

    def take(self, change: qdisc.LinkChange) -> None:
        """Remember what was asked."""
        self.delay_s = _either(change.one_way_delay_s, self.delay_s)
        self.loss_fraction = _either(change.loss_fraction, self.loss_fraction)
        self.seed = _either(change.loss_seed, self.seed)
        self.queue_bytes = _either(change.queue_bytes, self.queue_bytes)
        self.is_up = _either(change.is_up, self.is_up)
        if change.rate_bps is not None:
            is_unlimited = change.rate_bps == qdisc.RATE_UNLIMITED
            self.rate_bps = None if is_unlimited else change.rate_bps


def _wake(node: Node, index: int) -> None:
    """Let a queue look at its clock: it sleeps until its next packet is due at the old rate.

    Any frame does; this one has a type that is meant for experiments, which nobody listens to.
    """
    with (
        node.namespace.inside(),
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as made,
    ):
        interface = socket.if_indextoname(index)
        made.sendto(bytes(1), (interface, ETH_P_802_EX1, 0, 0, b"\x02\0\0\0\0\x01"))


def _either(new: Any, old: Any) -> Any:
    return old if new is None else new


class NetemLinks(LinkKind):
    """With what an ordinary kernel has."""

    name = "netem, tbf"

    def __init__(self) -> None:
        self._states: dict[tuple[str, int], _State] = {}

    def attach(
        self, node: Node, index: int, change: qdisc.LinkChange, what: str, *, replaces: bool
    ) -> None:
        """Queue the requests."""
        state = self._states[node.name, index] = _State()
        state.take(change)
        self._set_netem(node, index, state, what, netem.REPLACE if replaces else netem.NEW)
        if state.rate_bps is not None:
            self._new_tbf(node, index, state, what)

    def change(self, node: Node, index: int, change: qdisc.LinkChange, what: str) -> None:
        """Send requests for what differs."""
        state = self._states[node.name, index]
        before, was_up = (state.rate_bps, state.queue_bytes), state.is_up
        state.take(change)
        if state.is_up and not was_up:
            since_down = self._drops(node, index) - state.drops_when_it_went_down
            state.dropped_down += since_down
            state.drops_that_are_known += since_down
        self._set_netem(node, index, state, what, 0)
        if was_up and not state.is_up:
            self._go_down(node, index, state, what)
        if before[0] is None and state.rate_bps is not None:
            self._new_tbf(node, index, state, what)
        elif state.tbf_number and (state.rate_bps, state.queue_bytes) != before:
            node.rtnl.add(self._tbf(index, state, 0), what)
        node.rtnl.flush()
        was_asleep = before[0] is not None and before[0] < SLEEPY_BPS
        if was_asleep and state.is_up and state.rate_bps != before[0]:
            _wake(node, index)

    def _set_netem(self, node: Node, index: int, state: _State, what: str, flags: int) -> None:
        loss = state.loss_fraction if state.is_up else 1.0
        request = netem.set_netem(index, state.delay_s, loss, state.seed, flags=flags)
        node.rtnl.add(request, what)

    def _new_tbf(self, node: Node, index: int, state: _State, what: str) -> None:
        """Queue the request for a fresh tbf in the place of what is there."""
        state.tbf_number += 1
        node.rtnl.add(self._tbf(index, state, netem.REPLACE), what)

    def _tbf(self, index: int, state: _State, flags: int) -> bytes:
        rate_bps = UNLIMITED_BPS if state.rate_bps is None else state.rate_bps
        return netem.set_tbf(index, state.tbf_number, rate_bps, state.queue_bytes, flags)

    def _go_down(self, node: Node, index: int, state: _State, what: str) -> None:
        """Lose the queue, which goes with its tbf."""
        node.rtnl.flush()
        before = self._drops(node, index)
        if queue := self._counters(node).get((index, "tbf")):
            state.dropped_full += queue.dropped_packets
            state.dropped_down += queue.waiting_packets
            self._new_tbf(node, index, state, what)
            node.rtnl.flush()
        # What a tbf takes with it counts as dropped by netem too, and some of it twice.
        state.drops_when_it_went_down = self._drops(node, index)
        state.drops_that_are_known += state.drops_when_it_went_down - before

    def _drops(self, node: Node, index: int) -> int:
        return self._counters(node)[index, "netem"].dropped_packets

    def start_trace(
        self, node: Node, index: int, trace: dict[str, Any], start_ns: int, what: str
    ) -> None:
        """Do nothing: the steps of `trace_steps` are made from outside."""

    def trace_steps(
        self, trace: dict[str, Any], duration_s: float
    ) -> list[tuple[float, qdisc.LinkChange]]:
        """Return the steps of the rate."""
        steps = rate_steps(trace["opportunities_ms"], trace["period_ms"], duration_s)
        return [(at_s, qdisc.LinkChange(rate_bps=rate)) for at_s, rate in steps]

    def counters(self, node: Node) -> dict[int, dict[str, int]]:
        """Return what netem and tbf count, by lab_link's names as far as they have it."""
        found = self._counters(node)
        mine = {index: state for (name, index), state in self._states.items() if name == node.name}
        return {index: _named(found, index, state) for index, state in mine.items()}

    def _counters(self, node: Node) -> dict[tuple[int, str], netem.Counters]:
        return netem.counters(node.rtnl.dump(qdisc.dump_qdiscs()))


def _named(
    found: dict[tuple[int, str], netem.Counters], index: int, state: _State
) -> dict[str, int]:
    root, queue = found[index, "netem"], found.get((index, "tbf"))
    full = state.dropped_full + (queue.dropped_packets if queue else 0)
    since_down = 0 if state.is_up else root.dropped_packets - state.drops_when_it_went_down
    other = state.drops_that_are_known + since_down
    backlog = queue.waiting_bytes if queue else 0
    state.max_backlog = max(state.max_backlog, backlog)  # of the moments at which somebody looked
    return {
        "delivered_bytes": root.sent_bytes,
        "packets": root.sent_packets,
        "dropped_full": full,
        "dropped_down": state.dropped_down + since_down,
        "dropped_loss": max(root.dropped_packets - full - other, 0),
        "backlog": backlog,
        "max_backlog": state.max_backlog,
    }
