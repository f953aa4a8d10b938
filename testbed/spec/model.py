# SPDX-License-Identifier: Apache-2.0
"""What an experiment file may say; every value has its unit in the text."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from testbed.errors import SpecError
from testbed.units import parse_duration, parse_rate, parse_size


def _quantity(parse: Any) -> BeforeValidator:
    def convert(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("write the quantity with its unit, as a text")
        try:
            return parse(value)
        except SpecError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(convert)


# The kernel counts rates in whole bytes per second and the bytes of a queue in 32 bits.
Rate = Annotated[int, _quantity(parse_rate), Field(ge=8, lt=2**63)]
Duration = Annotated[float, _quantity(parse_duration), Field(ge=0, le=86_400)]
Size = Annotated[int, _quantity(parse_size), Field(gt=0)]
QueueSize = Annotated[int, _quantity(parse_size), Field(gt=0, lt=2**32)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LinkSpec(_Section):
    """One access link; both directions are alike but for the trace, which is the downlink's."""

    rate: Rate
    one_way_delay: Duration
    queue: QueueSize
    loss: float = Field(default=0.0, ge=0, lt=1, strict=True)
    trace: str | None = None


class LinksSpec(_Section):
    """The two access links of the laptop."""

    wifi: LinkSpec
    cell: LinkSpec = Field(alias="3g")


class RideSpec(_Section):
    """When there is WiFi, and where 3G fades.

    A ride is a repetition of a stop of `dwell` in a station and a tunnel of `tunnel`. WiFi is
    there in the stations; `association` is the time from the first beacon to an address, and
    `detection` the time it takes the laptop to notice that it is gone. A synthetic 3G link is
    silent for `fade` in the middle of every tunnel.
    """

    dwell: Duration
    tunnel: Duration
    association: Duration
    detection: Duration
    fade: Duration

    @model_validator(mode="after")
    def _moves(self) -> "RideSpec":
        if self.dwell + self.tunnel <= 0:
            raise ValueError("a ride needs a dwell or a tunnel longer than 0 s")
        if self.association >= self.dwell > 0:
            raise ValueError("the association takes longer than the dwell, so WiFi is never used")
        return self


class LimitsSpec(_Section):
    """Limits of the in-kernel path manager, on every host."""

    subflows: int = Field(default=8, ge=0, strict=True)
    add_addr_accepted: int = Field(default=8, ge=0, strict=True)


class MptcpSpec(_Section):
    """MPTCP on every host."""

    path_manager: Literal["kernel"] = "kernel"
    scheduler: str = "default"
    congestion_control: Literal["cubic", "reno", "bbr", "dctcp", "vegas", "westwood"] = "cubic"
    endpoint_flags: list[Literal["subflow", "backup", "fullmesh"]] = ["subflow"]
    limits: LimitsSpec = LimitsSpec()


class WorkloadSpec(_Section):
    """The download."""

    name: Literal["download"]
    size: Size


class CollectorsSpec(_Section):
    """What is recorded beside the packets."""

    ss_interval: Annotated[float, _quantity(parse_duration), Field(gt=0)] = 0.1


class ExperimentSpec(_Section):
    """A whole experiment file."""

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    question: str
    topology: Literal["underground"]
    duration: Annotated[float, _quantity(parse_duration), Field(gt=0, le=86_400)]
    seed: int = Field(default=1, ge=0, lt=2**64, strict=True)
    links: LinksSpec
    ride: RideSpec
    mptcp: MptcpSpec = MptcpSpec()
    workload: WorkloadSpec
    collectors: CollectorsSpec = CollectorsSpec()
