# SPDX-License-Identifier: Apache-2.0
"""What the two ends of a bulk flow agree on: the plan, the greeting, and the head of a block."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from testbed.errors import PlanError

DOWN, UP = "down", "up"
TRANSPORTS = ("mptcp", "tcp")
DEFAULT_BLOCK_BYTES = 8192
BITS = 8
NS_PER_S = 1_000_000_000

# The client's first bytes: which flow this connection is.
GREETING = struct.Struct("<4sI")
GREETING_WORD = b"bulk"

# The first bytes of every block when blocks are recorded: Unix time in ns, flow, size in bytes.
BLOCK_HEAD = struct.Struct("<QII")

# One block in raw/bulk.<n>.blocks.bin: flow, size in bytes, Unix times in ns of sending and of
# receiving the whole block.
BLOCK_RECORD = struct.Struct("<IIQQ")


@dataclass(frozen=True)
class Flow:
    """One flow of the plan.

    Attributes:
        direction: "down" is from server to client.
        start_s: when the client connects, since the start of the run.
        size_bytes: the flow ends when these are sent, or at duration_s after its start, whichever
            is first; with neither it lasts until the run ends.
        block_bytes: what the application writes at once.
        rate_bps: of the application; None: as fast as the network takes it.
        send_buffer_bytes: as for setsockopt, which doubles it; None: the kernel adapts it.
        subflows: how many are expected, for those who judge the run.
    """

    id: int
    client: str
    server: str
    address: str
    port: int
    direction: str
    transport: str
    source_address: str | None = None
    start_s: float = 0.0
    size_bytes: int | None = None
    duration_s: float | None = None
    block_bytes: int | None = None
    rate_bps: int | None = None
    congestion_control: str | None = None
    send_buffer_bytes: int | None = None
    receive_buffer_bytes: int | None = None
    subflows: int = 0

    @property
    def listener(self) -> tuple[str, int]:
        """The node and the port its server listens on."""
        return self.server, self.port

    def due_ns(self, block: int) -> int:
        """Return when the application has a block, in ns after its first one."""
        if self.rate_bps is None:
            return 0
        bits = block * (self.block_bytes or DEFAULT_BLOCK_BYTES) * BITS
        return bits * NS_PER_S // self.rate_bps


def read_flows(plan: dict[str, Any]) -> list[Flow]:
    """Return the flows of a plan.

    Raises:
        PlanError: a flow cannot be carried out; the message says which.
    """
    known = {field.name for field in fields(Flow)}
    flows = []
    for entry in plan["flows"]:
        if unknown := sorted(entry.keys() - known):
            raise PlanError(f"flow {entry.get('id')} has the unknown key {unknown[0]}")
        entry = {"transport": plan.get("transport", "tcp"), **entry}
        flows.append(Flow(**{key: value for key, value in entry.items() if value is not None}))
    check_flows(flows, bool(plan.get("record_blocks")))
    return flows


def check_flows(flows: list[Flow], record_blocks: bool) -> None:
    """Refuse flows that mean nothing or contradict each other.

    Raises:
        PlanError: the first problem.
    """
    problems = [f"flow {flow.id} {what}" for flow in flows for what in _problems(flow)]
    if record_blocks:
        problems += [
            f"flow {flow.id} has blocks of {flow.block_bytes} bytes, too small for a time stamp "
            f"of {BLOCK_HEAD.size}"
            for flow in flows
            if (flow.block_bytes or DEFAULT_BLOCK_BYTES) < BLOCK_HEAD.size
        ]
    problems += _contradictions(flows)
    if problems:
        raise PlanError(problems[0])


def _problems(flow: Flow) -> Iterable[str]:
    if flow.direction not in (DOWN, UP):
        yield f"has the direction {flow.direction}, neither {DOWN} nor {UP}"
    if flow.transport not in TRANSPORTS:
        yield f"has the transport {flow.transport}, neither mptcp nor tcp"
    for name in ("size_bytes", "duration_s", "block_bytes", "rate_bps"):
        value = getattr(flow, name)
        if value is not None and value <= 0:
            yield f"has {name} {value}; it must be above 0"
    if flow.start_s < 0:
        yield f"starts {-flow.start_s:g} s before the run"
    if not 0 <= flow.id < 1 << 32:
        yield "has an id that is no unsigned 32-bit number"


def _contradictions(flows: list[Flow]) -> Iterable[str]:
    ids: set[int] = set()
    first: dict[tuple[str, int], Flow] = {}
    for flow in flows:
        if flow.id in ids:
            yield f"flow {flow.id} is there twice"
        ids.add(flow.id)
        other = first.setdefault(flow.listener, flow)
        for name in ("direction", "transport", "send_buffer_bytes", "receive_buffer_bytes"):
            if getattr(flow, name) != getattr(other, name):
                yield (
                    f"flows {other.id} and {flow.id} share port {flow.port} of {flow.server} and "
                    f"differ in {name}; give one of them a port of its own"
                )
