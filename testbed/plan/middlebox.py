# SPDX-License-Identifier: Apache-2.0
"""A connection that is led through a middlebox, or away from one, as plain data."""

from typing import Any

from testbed.errors import PlanError
from testbed.plan.modes import Use
from testbed.plan.scenes import check_network, chosen, is_up, node_addresses
from testbed.plan.steering import PROXY_MARK, divert_to_proxy, pin_by_segments, segments_of
from testbed.render import render
from testbed.spec.model import ExperimentSpec
from testbed.spec.path_manager import ScriptStep
from testbed.spec.workloads import MiddleboxSpec

INSERT, BYPASS, CHAIN, SRV6 = "insert", "bypass", "chain", "srv6"
SCENES = (INSERT, BYPASS, CHAIN, SRV6)
CLIENT, SERVER, FIRST, SECOND, PATH = "client", "server", "m1", "m2", "access"
NAT, INSPECTOR, PROXY = "nat", "inspector", "proxy"
SCENES_OF = {NAT: SCENES[:3], INSPECTOR: SCENES, PROXY: SCENES[:2]}
# Where segment lists begin and end.
NEAR, FAR = "near", "far"
PORT = 7001

# The server has given up to half a second of data to the old subflow, and they are sent before that
# is closed; 200 ms were too few, and cost 0.3 to 0.5 s of silence.
DRAIN = "1 s"


def scene_of(spec: ExperimentSpec) -> str:
    """Return the scene, which an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    return chosen(spec, "scene", SCENES, INSERT)


def middlebox_use(spec: ExperimentSpec, topology: dict[str, Any]) -> Use:
    """Return how the client uses its one path.

    Raises:
        PlanError: there is no such scene, or the network has not what it needs.
    """
    address = second_address(_addresses(spec, topology))
    _check_ways(spec, topology)
    routers = [NEAR, FIRST, FAR]
    if scene_of(spec) == SRV6:
        pin_by_segments(topology, SERVER, address, routers)
    elif kind_of(spec) == PROXY:
        divert_to_proxy(topology, SERVER, address, routers, CLIENT)
    return Use("mptcp", at_start=[PATH])


def kind_of(spec: ExperimentSpec) -> str:
    """Return what the middlebox does.

    Raises:
        PlanError: it cannot do that in this scene.
    """
    workload, scene = spec.workload, scene_of(spec)
    assert isinstance(workload, MiddleboxSpec)
    kind = workload.middlebox or (INSPECTOR if scene == SRV6 else NAT)
    if scene == SRV6 and kind != INSPECTOR:
        raise PlanError(
            "workload.middlebox: a segment list leads packets past the middlebox as they are, so "
            f'in the scene "{SRV6}" it can only be an {INSPECTOR}, not a {kind}'
        )
    if scene == CHAIN and kind == PROXY:
        raise PlanError(
            f'workload.middlebox: the first {PROXY} of the scene "{CHAIN}" ends the connection, so '
            f"nothing of it reaches the second; use {INSERT} or {BYPASS}"
        )
    return kind


def second_address(addresses: dict[str, str]) -> str:
    """Return the server's second address, for a way that is pinned: the next of its network."""
    network, _, _ = addresses[SERVER].rpartition(".")
    return f"{network}.3"


def _address_of_way(spec: ExperimentSpec, addresses: dict[str, str]) -> str:
    """Return the address that leads by way of the first middlebox."""
    is_passing = scene_of(spec) == SRV6 or kind_of(spec) == PROXY
    return second_address(addresses) if is_passing else addresses[FIRST]


def default_script(spec: ExperimentSpec, topology: dict[str, Any]) -> list[ScriptStep]:
    """Return the scene as what the path manager does."""
    workload, addresses = spec.workload, _addresses(spec, topology)
    assert isinstance(workload, MiddleboxSpec)
    old, new = addresses[SERVER], _address_of_way(spec, addresses)
    if scene_of(spec) == BYPASS:
        old, new = new, old
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
    if workload.at >= workload.end or workload.end >= spec.duration:
        raise PlanError(
            f"workload: the change at {workload.at:g} s, the end of the transfer at "
            f"{workload.end:g} s and the run's at {spec.duration:g} s must follow one another"
        )
    by_middlebox = _address_of_way(spec, addresses)
    first = by_middlebox if scene == BYPASS else addresses[SERVER]
    rules = _rules(spec, addresses)
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
        "middlebox": kind_of(spec),
        "middleboxes": rules,
        "middlebox_address": by_middlebox,
        "segments": segments_of(topology, NEAR) if scene == SRV6 else None,
        "logs": [] if kind_of(spec) == NAT else list(rules),
        "log_family": "ip6" if scene == SRV6 else "ip",
        "log_interval_s": workload.inspect_interval,
        "proxy": {"node": FIRST, "port": PORT} if kind_of(spec) == PROXY else None,
        "is_left": scene == BYPASS,
    }


def _rules(spec: ExperimentSpec, addresses: dict[str, str]) -> dict[str, str]:
    """Return the nftables rules of each middlebox."""
    if scene_of(spec) == SRV6:
        return {FIRST: render("middlebox_inspector6.nft.j2")}
    if kind_of(spec) == PROXY:
        return {FIRST: render("middlebox_proxy.nft.j2", port=PORT, mark=PROXY_MARK)}
    boxes = [FIRST, SECOND] if scene_of(spec) == CHAIN else [FIRST]
    following = [*(addresses[name] for name in boxes[1:]), addresses[SERVER]]
    return {
        name: render("middlebox.nft.j2", address=addresses[name], next=after, port=PORT)
        for name, after in zip(boxes, following, strict=True)
    }


def watched_interfaces(spec: ExperimentSpec, topology: dict[str, Any]) -> list[str]:
    """Return the middleboxes' interfaces, which are captured to prove what passed."""
    workload = spec.workload
    if not isinstance(workload, MiddleboxSpec) or kind_of(spec) == NAT:
        return []
    boxes = [FIRST, SECOND] if scene_of(spec) == CHAIN else [FIRST]
    ends = [(link[side], link[f"{side}_interface"]) for link in topology["links"] for side in "ab"]
    return [f"{node}:{interface}" for node, interface in ends if node in boxes]


def _addresses(spec: ExperimentSpec, topology: dict[str, Any]) -> dict[str, str]:
    found = node_addresses(topology)
    missing = [name for name in (CLIENT, SERVER, FIRST, SECOND) if name not in found]
    check_network(spec, f'a node "{missing[0]}"' if missing else None, "middlebox")
    return found


def _check_ways(spec: ExperimentSpec, topology: dict[str, Any]) -> None:
    """Refuse a scene whose first or second way is down when it is to be used."""
    workload, scene = spec.workload, scene_of(spec)
    assert isinstance(workload, MiddleboxSpec)
    boxes = [FIRST, SECOND] if scene == CHAIN else [FIRST]
    at_s = 0.0 if scene == BYPASS else workload.at
    for link in topology["links"]:
        names = [name for name in boxes if name in (link["a"], link["b"])]
        if names and not is_up(spec, link["name"], at_s):
            raise PlanError(
                f"events: the link {link['name']} is down at {at_s:g} s, so that the middlebox "
                f"{names[0]} cannot be reached; let it come up before that"
            )
