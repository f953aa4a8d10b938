# SPDX-License-Identifier: Apache-2.0
"""What an experiment file may say of its workload, one class per workload."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from testbed.spec.quantities import Duration, PositiveDuration, Rate, Size
from testbed.spec.section import Section

Direction = Literal["down", "up"]


def _fraction(value: object) -> object:
    """Check a fraction above 0 and up to 1, in words that say what it is a fraction of."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= 1:  # type: ignore[operator]
        raise ValueError(
            f"{value!r} is not a fraction of the servers above 0 and up to 1, such as 0.5"
        )
    return float(value)  # type: ignore[arg-type]


ActiveFraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]


class DownloadSpec(Section):
    """A file, from an origin web server through Squid to curl."""

    name: Literal["download"]
    size: Size = Field(description="of the file")


class BulkSpec(Section):
    """Flows of our own sender between the client and the far end of its first path."""

    name: Literal["bulk"]
    flows: int = Field(1, ge=1, le=4096, strict=True, description="how many connections")
    direction: Direction = Field("down", description="`down` is towards the client")
    size: Size | None = Field(None, description="bytes per flow; else `duration`")
    duration: PositiveDuration | None = Field(
        None, description="how long each flow sends; default: until the run's end"
    )
    start: Duration = Field(0.0, description="when the first flow starts")
    stagger: Duration = Field(0.0, description="time between the starts of two flows")
    block: Size | None = Field(
        None, description="bytes per time-stamped block, whose latency is recorded"
    )
    rate: Rate | None = Field(
        None, description="application-limited rate of each flow, in whole blocks"
    )

    @model_validator(mode="after")
    def _is_possible(self) -> "BulkSpec":
        if self.size is not None and self.duration is not None:
            raise ValueError("give a size or a duration, not both")
        if self.rate is not None and self.block is None:
            raise ValueError("a rate is kept by sending blocks, so give a block size too")
        if self.block is not None and self.block < 64:
            raise ValueError("a block holds a time stamp and so has 64 bytes at least")
        return self


class Iperf3Spec(Section):
    """iperf3, or iperf 2 where the target's iperf3 polls the clock."""

    name: Literal["iperf3"]
    direction: Direction = Field("down", description="`down` is towards the client")
    size: Size | None = Field(None, description="bytes to send; else `duration`")
    duration: PositiveDuration | None = Field(
        None, description="how long to send; default: until the run's end"
    )
    streams: int = Field(1, ge=1, le=128, strict=True, description="parallel connections")

    @model_validator(mode="after")
    def _is_possible(self) -> "Iperf3Spec":
        if self.size is not None and self.duration is not None:
            raise ValueError("give a size or a duration, not both")
        return self


class UdpSpec(Section):
    """A constant stream of UDP packets to the client over each path that it has at the start."""

    name: Literal["udp"]
    rate: Rate | None = Field(
        None, description="of IP packets, on each path; default: 5 % more than its link carries"
    )
    packet: Size = Field(1500, ge=64, le=1500, description="size of an IP packet")


class _FlowsSpec(Section):
    """Flows between servers of a datacenter."""

    size: Size | None = Field(None, description="bytes per flow; default: until the run's end")
    stagger: Duration = Field(
        0.05, description="each flow starts at a random time between 0 and this"
    )
    warm_up: Duration | None = Field(
        None, description="left out of the goodput; default: a quarter of the run"
    )


class PermutationSpec(_FlowsSpec):
    """Every active server sends to one other; no server receives from two."""

    name: Literal["permutation"]
    active: ActiveFraction = Field(1.0, description="fraction of the servers that send")
    tcp_fraction: float = Field(
        0.0, ge=0, le=1, strict=True, description="fraction of the flows that are TCP, not MPTCP"
    )


class IncastSpec(_FlowsSpec):
    """Some servers send to one at the same time."""

    name: Literal["incast"]
    senders: int = Field(8, ge=1, strict=True, description="how many servers send")
    size: Size | None = Field(256_000, description="bytes from each sender")
    stagger: Duration = Field(0.0, description="each flow starts at a random time until this")


class AllToAllSpec(_FlowsSpec):
    """Each of some servers sends to all others of them."""

    name: Literal["all_to_all"]
    servers: int = Field(4, ge=2, strict=True, description="how many servers")


class ShuffleSpec(_FlowsSpec):
    """Each of some servers, the mappers, sends to each of others, the reducers."""

    name: Literal["shuffle"]
    mappers: int = Field(4, ge=1, strict=True, description="servers that send")
    reducers: int = Field(4, ge=1, strict=True, description="servers that receive")
    size: Size | None = Field(1_000_000, description="bytes from each mapper to each reducer")


TRAFFIC = (PermutationSpec, IncastSpec, AllToAllSpec, ShuffleSpec)


class MigrateSpec(Section):
    """A virtual machine moves to another datacenter during a download and an upload; `mode` says
    what becomes of its connections."""

    name: Literal["migrate"]
    at: Duration = Field(5.0, description="when the migration begins")
    memory: Size = Field(67_108_864, description="of the machine, all of it is sent once")
    dirty_rate: Rate = Field(16_000_000, description="how fast it writes to clean pages")
    bandwidth: Rate = Field(64_000_000, description="what the migration may send, without headers")
    algorithm: Literal["qemu", "xen"] = Field("qemu", description="when the rounds end")
    downtime_limit: PositiveDuration = Field(
        0.3, description="of `qemu`: the rounds end when the rest takes no longer"
    )
    max_rounds: int | None = Field(
        None, ge=1, le=10_000, strict=True, description="after which the rounds end anyway"
    )
    on_limit: Literal["stop", "abort"] = Field(
        "stop", description="what happens then: the rest is copied all the same, or nothing moves"
    )
    tail: PositiveDuration = Field(5.0, description="how long the transfers go on after it")


class MiddleboxSpec(Section):
    """A download whose connection is led through a middlebox, or away from one; `mode` says
    which: `insert`, `bypass`, `chain`, `srv6`."""

    name: Literal["middlebox"]
    at: Duration = Field(5.0, description="when the new subflow is opened")
    old: Literal["close", "backup"] = Field(
        "backup", description="what becomes of the old subflow once the new one is established"
    )
    end: PositiveDuration = Field(15.0, description="when the transfer ends")
    middlebox: Literal["nat", "inspector", "proxy"] | None = Field(
        None,
        description="what it does: `nat` translates what is addressed to it, `inspector` too, and "
        "logs the bytes of each connection over time, `proxy` ends connections and opens others; "
        "default: nat, with `srv6` inspector, which is all it can be",
    )
    inspect_interval: PositiveDuration = Field(
        0.1, description="of an inspector's or a proxy's log"
    )


class InterferenceSpec(Section):
    """A download past a middlebox that interferes with MPTCP; `mode` says how, such as `nat` or
    `strip-capable-syn`."""

    name: Literal["interference"]
    size: Size = Field(1_000_000, description="of what is downloaded")
    after: Size = Field(
        300_000, description="payload that passes before something changes in mid-connection"
    )


class FairnessSpec(Section):
    """MPTCP connections of two subflows beside TCP connections of other hosts, all to one server;
    `mode` says in which network: `bottleneck`, `loss-rtt`, `two-bottlenecks`."""

    name: Literal["fairness"]
    rival: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(
        "reno", description="congestion control of the TCP connections"
    )
    stagger: Duration = Field(1.0, description="each flow starts at a random time until this")
    warm_up: PositiveDuration | None = Field(
        None, description="left out of the numbers; default: 15 s, or 30 s for `two-bottlenecks`"
    )
    measured: PositiveDuration | None = Field(
        None, description="how long is measured; default: 60 s, 120 s or 90 s, by the scene"
    )


WorkloadSpec = Annotated[
    DownloadSpec
    | BulkSpec
    | Iperf3Spec
    | UdpSpec
    | PermutationSpec
    | IncastSpec
    | AllToAllSpec
    | ShuffleSpec
    | MigrateSpec
    | MiddleboxSpec
    | InterferenceSpec
    | FairnessSpec,
    Field(discriminator="name"),
]
