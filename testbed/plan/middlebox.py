# SPDX-License-Identifier: Apache-2.0
"""A connection that is led through a middlebox, or away from one, as plain data."""

from typing import Any

from testbed.errors import PlanError
from testbed.plan.modes import Use
from testbed.render import render
from testbed.spec.model import ExperimentSpec
from testbed.spec.path_manager import ScriptStep
from testbed.spec.workloads import MiddleboxSpec
from testbed.topology import near_miss

INSERT, BYPASS, CHAIN = "insert", "bypass", "chain"
SCENES = (INSERT, BYPASS, CHAIN)
CLIENT, SERVER, FIRST, SECOND, PATH = "client", "server", "m1", "m2", "access"
PORT = 7001

# The server has given up to half a second of data to the old subflow, and they are sent before that
# is closed; 200 ms were too few, and cost 0.3 to 0.5 s of silence.
DRAIN = "1 s"


def scene_of(spec: ExperimentSpec) -> str:
    """Return the scene, which an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    name = spec.mode or INSERT
    if name not in SCENES:
        hint = near_miss(name, SCENES) or f" (there are {', '.join(SCENES)})"
        raise PlanError(f'mode: "{name}" is not a scene of the workload "middlebox"{hint}')
    return name


def middlebox_use(spec: ExperimentSpec, topology: dict[str, Any]) -> Use:
    """Return how the client uses its one path.

    Raises:
        PlanError: there is no such scene, or the network has not what it needs.
    """
    scene_of(spec)
    _addresses(spec, topology)
    return Use("mptcp", at_start=[PATH])


def default_script(spec: ExperimentSpec) -> list[ScriptStep]:
    """Return the scene as what the path manager does."""
    workload = spec.workload
    assert isinstance(workload, MiddleboxSpec)
    old, new = (SERVER, FIRST) if scene_of(spec) != BYPASS else (FIRST, SERVER)
    joined = {"when": "established", "of": new, "path": PATH, "to": old}
    steps: list[dict[str, Any]] = [
        {"at": f"{workload.at:.6f} s", "do": "add_subflow", "path": PATH, "to": new, "port": PORT},
        # What the server has given to the old subflow is sent before that is closed.
        {**joined, "do": "set_backup"},
    ]
    if workload.old == "close":
        steps.append({**joined, "after": DRAIN, "do": "close"})
    return [ScriptStep.model_validate(step) for step in steps]


def plan_middlebox(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return "workload" of run.json."""
    workload = spec.workload
    assert isinstance(workload, MiddleboxSpec)
    scene, addresses = scene_of(spec), _addresses(spec, topology)
    boxes = [FIRST, SECOND] if scene == CHAIN else [FIRST]
    following = [*(addresses[name] for name in boxes[1:]), addresses[SERVER]]
    if workload.at >= workload.end or workload.end >= spec.duration:
        raise PlanError(
            f"workload: the change at {workload.at:g} s, the end of the transfer at "
            f"{workload.end:g} s and the run's at {spec.duration:g} s must follow one another"
        )
    first = addresses[FIRST] if scene == BYPASS else addresses[SERVER]
    shared = {"port": PORT, "transport": "mptcp", "is_session": False, "seed": seed}
    return {
        "scene": scene,
        "client": CLIENT,
        "at_s": workload.at,
        "end_s": workload.end,
        "server": {"node": SERVER, **shared, "is_listening": True, "is_receiving": False},
        "receiver": {
            "node": CLIENT,
            **shared,
            "address": first,
            "is_listening": False,
            "is_receiving": True,
        },
        "middleboxes": {
            name: render("middlebox.nft.j2", address=addresses[name], next=after, port=PORT)
            for name, after in zip(boxes, following, strict=True)
        },
        "middlebox_address": addresses[FIRST],
        "is_left": scene == BYPASS,
    }


def _addresses(spec: ExperimentSpec, topology: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for link in topology["links"]:
        for side in "ab":
            found.setdefault(link[side], link[f"{side}_address"])
    for name in (CLIENT, SERVER, FIRST, SECOND):
        if name not in found:
            raise PlanError(
                f'the workload "middlebox" needs a node "{name}", which the topology '
                f'"{spec.topology_name}" does not have; use "middlebox"'
            )
    return found
