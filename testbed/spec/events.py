# SPDX-License-Identifier: Apache-2.0
"""Timed changes that an experiment file may ask for, one class per kind of change."""

from typing import Annotated, Literal

from pydantic import Field

from testbed.spec.quantities import Duration, QueueSize, Rate
from testbed.spec.section import Section

Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
EndpointFlag = Literal["subflow", "backup", "fullmesh", "signal"]


class _Timed(Section):
    at: Duration = Field(description="when, from the start of the run")


class _LinkEvent(_Timed):
    link: str = Field(description="name of the link in the topology")


class _DirectionEvent(_LinkEvent):
    direction: Literal["up", "down", "both"] = Field(
        "both", description="`down` is towards the client"
    )


class LinkDown(_LinkEvent):
    """The link loses its queues and all that is sent."""

    change: Literal["link_down"]


class LinkUp(_LinkEvent):
    """The link carries packets again."""

    change: Literal["link_up"]


class RateChange(_DirectionEvent):
    """The link's rate changes; what waits is served at the new one."""

    change: Literal["rate"]
    rate: Rate = Field(description="new rate of IP packets")


class DelayChange(_DirectionEvent):
    """The propagation delay changes; packets do not overtake each other."""

    change: Literal["delay"]
    one_way_delay: Duration = Field(description="new propagation delay, one way")


class LossChange(_DirectionEvent):
    """The share of lost packets changes."""

    change: Literal["loss"]
    loss: Fraction = Field(description="new fraction of lost packets")


class QueueChange(_DirectionEvent):
    """The limit of the bottleneck queue changes; what waits in it stays."""

    change: Literal["queue"]
    queue: QueueSize = Field(description="new limit of the queue")


class _PathEvent(_Timed):
    path: str = Field(description="name of the client's path")


class AddressGone(_PathEvent):
    """The client loses its address on a path, with endpoint and routes."""

    change: Literal["address_gone"]


class AddressBack(_PathEvent):
    """The client has an address on a path again."""

    change: Literal["address_back"]


class EndpointAdd(_PathEvent):
    """An MPTCP endpoint is added for a path."""

    change: Literal["endpoint_add"]
    flags: list[EndpointFlag] = Field(["subflow"], description="of the endpoint")


class EndpointRemove(_PathEvent):
    """The MPTCP endpoint of a path is removed, and connections close its subflows."""

    change: Literal["endpoint_remove"]


class EndpointBackup(_PathEvent):
    """The endpoint of a path becomes a backup, or no backup; connections send MP_PRIO."""

    change: Literal["endpoint_backup"]
    backup: bool = Field(True, strict=True, description="whether it is a backup from now on")


Event = Annotated[
    LinkDown
    | LinkUp
    | RateChange
    | DelayChange
    | LossChange
    | QueueChange
    | AddressGone
    | AddressBack
    | EndpointAdd
    | EndpointRemove
    | EndpointBackup,
    Field(discriminator="change"),
]
