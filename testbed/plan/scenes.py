# SPDX-License-Identifier: Apache-2.0
"""What workloads have in common that are a scene on a network of their own."""

from collections.abc import Sequence
from typing import Any

from testbed.errors import PlanError
from testbed.spec.model import ExperimentSpec
from testbed.topology import near_miss


def chosen(spec: ExperimentSpec, what: str, names: Sequence[str], default: str) -> str:
    """Return the scene or variant of a workload, which an experiment names as its mode.

    Args:
        what: `scene` or `variant`.

    Raises:
        PlanError: there is none of that name.
    """
    name = spec.mode or default
    if name not in names:
        hint = near_miss(name, names) or f" (there are {', '.join(names)})"
        raise PlanError(
            f'mode: "{name}" is not a {what} of the workload "{spec.workload.name}"{hint}'
        )
    return name


def node_addresses(topology: dict[str, Any]) -> dict[str, str]:
    """Return the address of each node on its first link."""
    found: dict[str, str] = {}
    for link in topology["links"]:
        for side in "ab":
            found.setdefault(link[side], link[f"{side}_address"])
    return found


def check_network(spec: ExperimentSpec, missing: str | None, topology_name: str) -> None:
    """Refuse a network that lacks something.

    Args:
        missing: what the workload needs and it has not.
        topology_name: of one that has it.

    Raises:
        PlanError: something is missing.
    """
    if missing:
        raise PlanError(
            f'the workload "{spec.workload.name}" needs {missing}, which the topology '
            f'"{spec.topology_name}" does not have; use "{topology_name}"'
        )


def is_up(spec: ExperimentSpec, link: str, at_s: float) -> bool:
    """Say whether a link is up at a time, by the experiment's events."""
    found = True
    for event in sorted(spec.events, key=lambda one: one.at):
        if getattr(event, "link", None) == link and event.at <= at_s:
            found = {"link_down": False, "link_up": True}.get(event.change, found)
    return found
