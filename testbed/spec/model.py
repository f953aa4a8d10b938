# SPDX-License-Identifier: Apache-2.0
"""What an experiment file may say; every value has its unit in the text."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from testbed.spec.events import EndpointFlag, Event, Fraction
from testbed.spec.expect import ExpectSpec
from testbed.spec.path_manager import ScriptStep
from testbed.spec.quantities import (
    BufferSize,
    Duration,
    PositiveDuration,
    QueueSize,
    Rate,
)
from testbed.spec.ride import RideSpec
from testbed.spec.section import Section
from testbed.spec.wifi import WifiSpec
from testbed.spec.workloads import WorkloadSpec

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class TraceSpec(Section):
    """A link that follows a file, in mahimahi's format or as CSV."""

    file: str = Field(description="relative to the experiment file")
    loop: bool = Field(True, strict=True, description="start again at the end")
    offset: Duration = Field(0.0, description="where in the trace the run begins")


class DirectionSpec(Section):
    """One direction of a link; what is not said stays as the topology has it."""

    rate: Rate | None = Field(None, description="of IP packets")
    one_way_delay: Duration | None = Field(None, description="propagation delay after the queue")
    queue: QueueSize | None = Field(
        None, description="limit of the bottleneck queue: bytes, packets of 1500 bytes, or time"
    )
    loss: Fraction | None = Field(None, description="fraction of packets lost, independently")
    trace: TraceSpec | str | None = Field(
        None, description="follow a trace instead of the rate: a file name, or a section"
    )


class LinkSpec(DirectionSpec):
    """A link of the topology; `up` and `down` go before what is said for both directions."""

    up: DirectionSpec | None = Field(None, description="away from the client only")
    down: DirectionSpec | None = Field(None, description="towards the client only")


class TopologySpec(Section):
    """The network: a topology by its name, and its parameters."""

    name: str = Field(description="one of the topologies")
    parameters: dict[str, Any] = Field({}, description="what its build method takes")


class TcpSpec(Section):
    """TCP on every host, subflows of MPTCP included; pinned at both ends."""

    congestion_control: Name = Field(
        "cubic",
        description="as the kernel calls it; the lab's has reno, cubic, bbr, dctcp, vegas, "
        "westwood, lia, olia, balia",
    )
    receive_buffer: BufferSize | None = Field(
        None, description="greatest receive buffer (tcp_rmem); default: 6 MiB"
    )
    initial_receive_buffer: BufferSize | None = Field(
        None, description="receive buffer of a new socket (tcp_rmem); default: 128 KiB"
    )
    send_buffer: BufferSize | None = Field(
        None, description="greatest send buffer (tcp_wmem); default: 4 MiB"
    )


class LimitsSpec(Section):
    """Limits of the in-kernel path manager, on every host."""

    subflows: int = Field(8, ge=0, le=2**31, strict=True, description="additional subflows")
    add_addr_accepted: int = Field(
        8, ge=0, le=2**31, strict=True, description="announced addresses that are used"
    )


class MptcpSpec(Section):
    """MPTCP on every host."""

    path_manager: Literal["kernel", "userspace"] = Field(
        "kernel", description="of the client: the kernel's own, or one that follows `script`"
    )
    script: list[ScriptStep] = Field([], description="what a path manager in userspace does")
    scheduler: str = Field("default", description="net.mptcp.scheduler")
    limits: LimitsSpec = Field(LimitsSpec(), description="of the path manager")
    endpoints: dict[str, list[EndpointFlag]] = Field(
        {}, description="flags of the endpoint of each path, by path; default: as the mode says"
    )
    stale_loss_count: int = Field(
        4, ge=0, le=1000, strict=True, description="net.mptcp.stale_loss_cnt"
    )

    @model_validator(mode="after")
    def _has_who_follows(self) -> "MptcpSpec":
        if self.script and self.path_manager != "userspace":
            raise ValueError("a script is followed by the path manager userspace only")
        return self


# Ethernet, IPv4 and TCP headers with all options take 134 bytes at most.
HEADERS_BYTES = 134


class CollectorsSpec(Section):
    """What is recorded."""

    ss_interval: PositiveDuration = Field(0.1, description="between two samples of all sockets")
    link_interval: PositiveDuration = Field(1.0, description="between two samples of link counters")
    captures: list[str] | None = Field(
        None, description="paths, or node:interface; default: every path of the client"
    )
    snap_bytes: int = Field(
        HEADERS_BYTES,
        ge=HEADERS_BYTES,
        le=65_535,
        strict=True,
        description="bytes recorded of each packet; all headers fit into the default",
    )


class ExperimentSpec(Section):
    """A whole experiment file."""

    schema_version: Literal[1] = Field(alias="schema", description="version of this format")
    name: Name = Field(description="of the experiment; results are stored under it")
    question: str = Field(description="what the experiment is to answer, in one sentence")
    topology: TopologySpec | str = Field(description="a name, or a section with parameters")
    duration: PositiveDuration = Field(description="when a run ends at the latest")
    seed: int = Field(
        1, ge=0, lt=2**64, strict=True, description="of all that is random in the first repetition"
    )
    mode: Name | None = Field(
        None, description="how the client uses its paths, such as `mptcp-full` or `tcp-wifi`"
    )
    links: dict[str, LinkSpec] = Field({}, description="changes to the topology's links, by name")
    ride: RideSpec | None = Field(None, description="a client that moves")
    wifi: WifiSpec | None = Field(None, description="a station among access points")
    tcp: TcpSpec = Field(TcpSpec(), description="TCP on every host")
    mptcp: MptcpSpec = Field(MptcpSpec(), description="MPTCP on every host")
    workload: WorkloadSpec = Field(description="what the traffic is")
    events: list[Event] = Field([], description="timed changes of the network")
    collectors: CollectorsSpec = Field(CollectorsSpec(), description="what is recorded")
    matrix: dict[str, list[Any]] = Field(
        {}, description="values to vary, by dotted key; every combination is a cell"
    )
    repetitions: int = Field(
        1, ge=1, le=10_000, strict=True, description="runs of each cell; the n-th has seed + n - 1"
    )

    expect: list[ExpectSpec] = Field(
        [], description="what the numbers are expected to be: an experiment as a test"
    )

    @model_validator(mode="after")
    def _fits_the_time(self) -> "ExperimentSpec":
        for number, event in enumerate(self.events):
            if event.at >= self.duration:
                raise ValueError(
                    f"events.{number} is at {event.at:g} s, but the run ends at {self.duration:g} s"
                )
        return self

    @property
    def topology_name(self) -> str:
        """The topology's name, however it was written."""
        return self.topology if isinstance(self.topology, str) else self.topology.name

    @property
    def topology_parameters(self) -> dict[str, Any]:
        """The topology's parameters; none if only its name was written."""
        return {} if isinstance(self.topology, str) else self.topology.parameters
