# SPDX-License-Identifier: Apache-2.0
"""The script of a path manager in userspace as plain data: names checked, addresses filled in."""

from typing import Any

from testbed.errors import PlanError
from testbed.plan import middlebox, migrate
from testbed.plan.modes import FULL, Use
from testbed.spec.model import ExperimentSpec
from testbed.spec.path_manager import OF_A_MIGRATION, ScriptStep
from testbed.topology import near_miss

USERSPACE = "userspace"


def plan_path_manager(
    spec: ExperimentSpec, topology: dict[str, Any], use: Use
) -> dict[str, Any] | None:
    """Return the node whose connections are managed, and the script; None: the kernel does it.

    Raises:
        PlanError: the script names what is not there, or the mode needs the kernel's own.
    """
    script = spec.mptcp.script or _own_script(spec, topology)
    if spec.mptcp.path_manager != USERSPACE and (not script or use.transport != "mptcp"):
        return None
    if _wants_kernel(spec):
        if spec.workload.name == "middlebox":
            raise PlanError(
                "mptcp.path_manager: the kernel's own opens subflows to announced addresses only, "
                "not to a middlebox; use userspace"
            )
        return None
    _check_mode(spec, use)
    steps = [_step(number, step, spec, topology) for number, step in enumerate(script)]
    return {"node": topology["paths"][0]["node"], "script": steps}


def _wants_kernel(spec: ExperimentSpec) -> bool:
    """Say whether an experiment asks for the kernel's own path manager in so many words."""
    is_said = "path_manager" in spec.mptcp.model_fields_set
    return is_said and spec.mptcp.path_manager == "kernel"


def _own_script(spec: ExperimentSpec, topology: dict[str, Any]) -> list[ScriptStep]:
    """Return the script of a workload that is one."""
    if spec.workload.name == "migrate":
        return migrate.default_script(migrate.variant_of(spec))
    if spec.workload.name == "middlebox":
        return middlebox.default_script(spec, topology)
    return []


def possible_use(manager: dict[str, Any], topology: dict[str, Any]) -> list[str]:
    """Return the paths on which a script may put data: the first one, and those that it names."""
    named = {step["path"] for step in manager["script"]} | {topology["paths"][0]["name"]}
    return [path["name"] for path in topology["paths"] if path["name"] in named]


def _check_mode(spec: ExperimentSpec, use: Use) -> None:
    if use.transport != "mptcp":
        raise PlanError(
            f'mptcp.path_manager: the mode "{spec.mode}" uses TCP, which has no path manager'
        )
    if spec.mode not in (None, FULL) and spec.workload.name not in ("migrate", "middlebox"):
        raise PlanError(
            f'mptcp.path_manager: the mode "{spec.mode}" works by endpoints of the kernel\'s own; '
            f'use "{FULL}" and say in mptcp.script what is to happen'
        )
    if spec.mptcp.endpoints:
        raise PlanError(
            "mptcp.endpoints: they are of the kernel's own path manager; with userspace, say in "
            "mptcp.script what is to happen"
        )


def _step(
    number: int, step: ScriptStep, spec: ExperimentSpec, topology: dict[str, Any]
) -> dict[str, Any]:
    place = f"mptcp.script.{number}"
    names = [path["name"] for path in topology["paths"]]
    if step.path not in names:
        what = f'{place}.path: "{step.path}" is not a path of this network'
        raise PlanError(f"{what}{near_miss(step.path, names)}")
    is_path = step.of is None or step.of in names
    if step.at is not None and step.at >= spec.duration:
        raise PlanError(f"{place} is at {step.at:g} s, but the run ends at {spec.duration:g} s")
    if step.when in OF_A_MIGRATION and spec.workload.name != "migrate":
        raise PlanError(f'{place}.when: only the workload "migrate" is ever {step.when}')
    return {
        "at_s": step.at,
        "when": step.when,
        "of": step.of if is_path else None,
        "of_address": None if is_path else _address(f"{place}.of", str(step.of), topology, names),
        "after_s": step.after,
        "do": step.do,
        "path": step.path,
        "to": None if step.to is None else _address(f"{place}.to", step.to, topology, []),
        "port": step.port,
        "is_backup": step.do == "set_backup" if step.backup is None else step.backup,
    }


def _address(place: str, name: str, topology: dict[str, Any], paths: list[str]) -> str:
    """Return an address of the network: the one that is named, or that of a node's first link."""
    nodes = [node["name"] for node in topology["nodes"]]
    ends = [(link[side], link[f"{side}_address"]) for link in topology["links"] for side in "ab"]
    more = topology.get("addresses", {})
    ends += [(node, one["address"]) for node, entries in more.items() for one in entries]
    for node, address in ends:
        if name in (node, address):
            return str(address)
    kinds = "no path, node or address" if paths else "neither a node nor an address"
    raise PlanError(
        f'{place}: "{name}" is {kinds} of this network{near_miss(name, [*paths, *nodes])}'
    )
