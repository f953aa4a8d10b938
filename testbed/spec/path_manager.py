# SPDX-License-Identifier: Apache-2.0
"""The script of a path manager in userspace."""

from typing import Literal

from pydantic import Field, model_validator

from testbed.spec.quantities import Duration
from testbed.spec.section import Section

Action = Literal["add_subflow", "close", "announce", "remove", "set_backup"]
Moment = Literal[
    "established", "closed", "priority", "announced", "removed", "stopped", "resumed"
]  # fmt: skip
OF_A_SUBFLOW = ("established", "closed", "priority")
OF_A_MIGRATION = ("stopped", "resumed")


class ScriptStep(Section):
    """What the path manager does, and when: at a time, for all connections of the client, or when
    something happens, for the connection that it happens to."""

    at: Duration | None = Field(None, description="when, from the start of the run")
    when: Moment | None = Field(
        None,
        description="instead of `at`: the connection, or with `of` a subflow, is established or "
        "closed; a subflow's priority changes; the peer announces or removes an address; the "
        "virtual machine of `migrate` is stopped or resumed",
    )
    of: str | None = Field(
        None, description="the path that the subflow is on, or the node or address it leads to"
    )
    after: Duration = Field(0.0, description="how long to wait then")
    do: Action = Field(description="MP_JOIN, close subflows, ADD_ADDR, REMOVE_ADDR, MP_PRIO")
    path: str = Field(description="the client's path that it is done with")
    to: str | None = Field(
        None,
        description="a node or an address: where a subflow is opened to, by default where the "
        "connection was, or which subflows are closed or changed, by default all on the path",
    )
    port: int | None = Field(
        None, ge=1, le=65_535, strict=True, description="of `to`; default: the connection's"
    )
    backup: bool | None = Field(
        None,
        strict=True,
        description="of `add_subflow` and `set_backup`: whether it is a backup; default: no, yes",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> "ScriptStep":
        if (self.at is None) == (self.when is None):
            raise ValueError("say either at which time (at) or upon what (when)")
        if self.of is not None and self.when not in OF_A_SUBFLOW:
            raise ValueError('"of" goes with "when": established, closed or priority')
        if self.when == "priority" and self.of is None:
            raise ValueError('say with "of" the path of the subflow whose priority changes')
        if self.after and self.when is None:
            raise ValueError('"after" goes with "when"')
        if self.port and self.do != "add_subflow":
            raise ValueError('"port" goes with add_subflow')
        if self.to and self.do in ("announce", "remove"):
            raise ValueError('"to" goes with add_subflow, close and set_backup')
        if self.backup is not None and self.do not in ("add_subflow", "set_backup"):
            raise ValueError('"backup" goes with add_subflow and set_backup')
        return self
