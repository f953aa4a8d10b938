# SPDX-License-Identifier: Apache-2.0
"""What an experiment file, or a ride file, may say of a ride on the underground."""

from typing import Annotated

from pydantic import Field, model_validator

from testbed.spec.quantities import CountRange, Duration, DurationRange
from testbed.spec.section import Section

Span = tuple[Duration, Duration]


class RideSpec(Section):
    """When there is WiFi, and where 3G fades.

    A ride begins in a station. It is made from the seed by the ranges below, or is what `stops`
    and `fades_at` say. WiFi is there in the stations, 3G everywhere but in the fades.
    """

    stations: int = Field(
        6, ge=1, le=1000, strict=True, description="stations; the passenger stays in the last one"
    )
    dwell: DurationRange = Field((20.0, 40.0), description="time in a station")
    tunnel: DurationRange = Field((90.0, 120.0), description="time between two stations")
    fades: CountRange = Field((1, 3), description="fades of 3G per tunnel")
    fade: DurationRange = Field((1.0, 5.0), description="length of a fade")
    association: Duration = Field(
        1.5, description="from the first beacon to an address: association and DHCP"
    )
    detection: Duration = Field(0.5, description="until the laptop notices that WiFi is gone")
    promotion: Duration = Field(
        2.0, description="until 3G carries data after it was idle (RRC IDLE to DCH)"
    )
    variation: Annotated[float, Field(ge=0, le=1, strict=True)] = Field(
        0.35, description="relative standard deviation of 3G's rate where no trace is given"
    )
    stops: list[Span] | None = Field(
        None, description="start and end of each time in a station, instead of the ranges"
    )
    fades_at: list[Span] | None = Field(
        None, description="start and end of each fade, together with `stops`"
    )

    @model_validator(mode="after")
    def _moves(self) -> "RideSpec":
        if self.stops is None and self.dwell[1] + self.tunnel[1] <= 0:
            raise ValueError("a ride needs a dwell or a tunnel longer than 0 s")
        if self.stops is None and self.association >= self.dwell[1] > 0:
            raise ValueError("the association takes longer than the dwell, so WiFi is never used")
        if self.fades_at is not None and self.stops is None:
            raise ValueError("fades_at goes with stops; fades and fade go with the ranges")
        for name, spans in (("stops", self.stops), ("fades_at", self.fades_at)):
            _check_spans(name, spans or [])
        return self


def _check_spans(name: str, spans: list[Span]) -> None:
    """Refuse spans without length, and those that overlap or go back."""
    before = 0.0
    for number, (start, end) in enumerate(spans):
        if end <= start:
            raise ValueError(f"{name}.{number} ends at {end:g} s, not after its start {start:g} s")
        if start < before:
            raise ValueError(f"{name}.{number} starts at {start:g} s, before the one before ends")
        before = end
