# SPDX-License-Identifier: Apache-2.0
"""What an experiment file may say of access points and of a station among them."""

from typing import Literal

from pydantic import Field, model_validator

from testbed.spec.quantities import (
    Duration,
    Length,
    Level,
    Place,
    PositiveDuration,
    QueueSize,
    Speed,
)
from testbed.spec.section import Section

Scene = Literal["static", "walk", "how-many-aps", "scan"]
MAX_APS, MAX_CHANNEL = 6, 177


class SlotsSpec(Section):
    """One NIC on several channels: a cycle of slots, one per channel."""

    slot: PositiveDuration = Field(0.1, description="time on a channel, the switch to it included")
    switch: Duration = Field(0.005, description="until the NIC works on the next channel")
    adaptive: bool = Field(
        False, strict=True, description="leave a channel on which nothing happens any more"
    )
    silence: PositiveDuration = Field(0.01, description="after which an adaptive slot ends")
    max_channels: int = Field(3, ge=1, le=MAX_APS, strict=True, description="of one cycle")


class JoiningSpec(Section):
    """How long it takes to change the access point."""

    detection: Duration = Field(0.2, description="until the station notices that one is gone")
    scan: Duration = Field(1.0, description="of all channels, when there is nothing else to do")
    association: Duration = Field(0.1, description="authentication, association and keys")
    dhcp: Duration = Field(0.5, description="until there is an address")
    window: PositiveDuration = Field(2.0, description="in which beacons are counted")
    hysteresis: int = Field(
        4, ge=0, le=100, strict=True, description="how many more beacons a better one has"
    )
    margin: Level = Field(
        3.0, description="above the edge: below it one of several access points is given up"
    )
    drain: Duration = Field(
        2.0, description="as a backup, so that what waits arrives, before one is given up"
    )


class ScanSpec(Section):
    """Periodic background scans, by which a station learns of other access points."""

    period: PositiveDuration | None = Field(None, description="between two scans; default: none")
    channel: PositiveDuration = Field(0.05, description="time on the channel that is scanned")


class OutageSpec(Section):
    """Access points that fail now and then, each by itself."""

    every: PositiveDuration | None = Field(
        None, description="mean time from an outage to the next; default: there is none"
    )
    length: PositiveDuration = Field(5.0, description="mean length of an outage")


class WifiSpec(Section):
    """Access points in a street and a station among them; `mode` is the station's policy."""

    level: Literal["gate", "mac80211"] = Field(
        "gate", description="links shaped by the radio model, or radios of the kernel"
    )
    scene: Scene = Field("walk", description="what the results are called")
    aps: int = Field(2, ge=1, le=MAX_APS, strict=True, description="number of access points")
    first: Place = Field((30.0, 10.0), description="where the first access point is")
    spacing: Length = Field(70.0, description="from one to the next, along x")
    channels: list[int] = Field(
        [1, 36, 6, 44, 11, 48], min_length=1, description="of the access points, over and over"
    )
    map: Place = Field((500.0, 40.0), description="the corner opposite to 0 m, 0 m")
    walk: list[Place] = Field(
        [(20.0, 15.0), (140.0, 15.0)], min_length=1, description="way points of the station"
    )
    at: Length | None = Field(
        None, description="the station stands here, along x, instead of walking"
    )
    speed: Speed = Field(1.0, description="of the station")
    phy: Literal["g", "n"] = Field("g", description="802.11g, or 802.11n with one stream")
    stations: int = Field(
        0, ge=0, le=50, strict=True, description="others that are busy, on each access point"
    )
    tx_power: Level = Field(15.0, description="of an access point, antenna gains included")
    exponent: float = Field(3.0, ge=1.5, le=6, description="of the path loss")
    shadowing: Level = Field(3.0, description="standard deviation of the shadowing")
    queue: QueueSize = Field(
        {"bytes": 192_000}, description="of each direction of a link; what an access point buffers"
    )
    sample: PositiveDuration = Field(0.5, description="between two looks at the signal")
    slots: SlotsSpec = Field(SlotsSpec(), description="of the policies one-nic and all-aps")
    joining: JoiningSpec = Field(JoiningSpec(), description="what a change of access point takes")
    scans: ScanSpec = Field(ScanSpec(), description="background scans")
    outages: OutageSpec = Field(OutageSpec(), description="of access points")
    probe: PositiveDuration | None = Field(
        0.047, description="between two echo requests to the station over each path"
    )

    @model_validator(mode="after")
    def _is_possible(self) -> "WifiSpec":
        if self.slots.slot < 2 * self.slots.switch:
            raise ValueError(
                f"slots.slot: {self.slots.slot * 1e3:g} ms is shorter than twice the switch time, "
                f"{self.slots.switch * 1e3:g} ms; give a longer slot"
            )
        for channel in self.channels:
            if not 1 <= channel <= MAX_CHANNEL or 13 < channel < 36:
                raise ValueError(
                    f"channels: {channel} is not a channel of 2.4 GHz (1 to 13) or 5 GHz (36 to "
                    f"{MAX_CHANNEL})"
                )
        if self.scans.period is not None and self.scans.period < 2 * self.scans.channel:
            raise ValueError("scans: a period is at least twice the time on a channel")
        self._check_places()
        return self

    def _check_places(self) -> None:
        width, depth = self.map
        last = self.first[0] + (self.aps - 1) * self.spacing
        at = [] if self.at is None else [(self.at, self.walk[0][1])]
        for key, (x, y) in (
            *((f"walk.{n}", place) for n, place in enumerate(self.walk)),
            *(("at", place) for place in at),
            (f"aps: number {self.aps}", (last, self.first[1])),
        ):
            if x > width or y > depth:
                raise ValueError(
                    f"{key} at {x:g} m, {y:g} m is off the map, which ends at {width:g} m, "
                    f"{depth:g} m; make the map larger"
                )
