# SPDX-License-Identifier: Apache-2.0
"""Turns an experiment into runs: plain data that needs neither the file nor this machine."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from testbed import traces
from testbed.errors import PlanError
from testbed.plan.datacenter import (
    check_datacenter,
    datacenter_collectors,
    datacenter_limits,
    ecmp_sysctls,
    is_datacenter,
    mark_queues,
    memory_factor,
    plan_traffic,
    use_datacenter,
)
from testbed.plan.events import (
    check_presence,
    coverage_changes,
    fade_changes,
    give_addresses,
    spec_changes,
)
from testbed.plan.fairness import shape_scene
from testbed.plan.links import DIRECTIONS, TRACE_MARGIN_MS, shape_links, traced
from testbed.plan.modes import FULL, Situation
from testbed.plan.path_manager import plan_path_manager
from testbed.plan.recording import captures, collectors
from testbed.plan.ride import Ride, make_ride, usable_spans
from testbed.plan.settings import buffers, endpoints, mptcp_settings, sysctls
from testbed.plan.topologies import find_topology
from testbed.plan.uses import mode_of, uncertain_use, use_of
from testbed.plan.wifi import (
    link_events,
    open_shares,
    parameters,
    plan_radio,
    radio_use,
    shape_radio_links,
)
from testbed.plan.workloads import plan_workload
from testbed.spec.load import Experiment
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import FairnessSpec
from testbed.topology import Topology

RUN_SCHEMA = 2
SEEDS = 2**64
SYNTHETIC = "synthetic ride"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        key: name of its cell, as a folder.
        repetition: from 1.
        varied: the values of its cell as texts.
        plan: the content of run.json.
    """

    key: str
    repetition: int
    varied: dict[str, str]
    plan: dict[str, Any]


def plan_experiment(
    experiment: Experiment, seed: int | None = None, repetitions: int | None = None
) -> list[PlannedRun]:
    """Return all runs of an experiment, cell by cell.

    Args:
        experiment: the loaded file.
        seed: of the first repetition, instead of the file's.
        repetitions: of each cell, instead of the file's.

    Raises:
        PlanError: the experiment is well formed but cannot be carried out; SpecError: a trace
            that it names is wrong.
    """
    runs = []
    keys: set[str] = set()
    for cell in experiment.cells:
        key = _fresh(cell_key(cell.varied), cell.varied, keys)
        first = cell.spec.seed if seed is None else seed
        count = repetitions or cell.spec.repetitions
        if first + count > SEEDS:
            raise PlanError(f"seed: the last of {count} repetitions would have more than 64 bits")
        for number in range(count):
            plan = plan_run(cell.spec, first + number, experiment.folder)
            named = {"run_id": f"{key}/rep{number + 1:02d}", "varied": cell.varied}
            runs.append(PlannedRun(key, number + 1, cell.varied, {**plan, **named}))
    return runs


def _fresh(key: str, varied: dict[str, str], keys: set[str]) -> str:
    """Return a cell's key, made different where other values look the same in it; note it."""
    if key in keys:
        key = f"{key[:130]}-{hashlib.sha256(repr(varied).encode()).hexdigest()[:8]}"
    keys.add(key)
    return key


def cell_key(varied: dict[str, str]) -> str:
    """Return a cell's name as a folder: the varied values, in characters that are safe there."""
    pairs = (f"{key}={value}" for key, value in varied.items())
    name = ",".join(re.sub(r"[^A-Za-z0-9._=+-]+", "-", pair) for pair in pairs)
    if len(name) > 150:
        name = f"{name[:130]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name or "default"


def plan_run(spec: ExperimentSpec, seed: int, folder: Path = Path()) -> dict[str, Any]:
    """Return the content of run.json, but for its name.

    Raises:
        PlanError: the experiment is well formed but cannot be carried out.
    """
    topology = build_topology(spec)
    if isinstance(spec.workload, FairnessSpec):
        shape_scene(spec, topology)
    radio = plan_radio(spec, seed) if spec.wifi else None
    if radio and spec.wifi:
        shape_radio_links(topology, radio, spec.wifi.queue)
    changes = shape_links(topology, spec.links, folder, spec.duration)
    ride = make_ride(spec.ride, seed, spec.duration) if spec.ride else None
    is_synthetic = _make_3g(spec, topology, ride, seed, changes) if ride else False
    if ride and not is_synthetic:
        ride = replace(ride, fades=[])  # nothing makes them: 3G does what its trace says
    plain = topology.plain()
    if is_datacenter(plain):
        return _plan_datacenter(spec, plain, changes, seed)
    if not plain["paths"]:
        raise PlanError(f"{spec.topology_name} names no path, so no workload can use it")
    situation = _situation(spec, plain, ride)
    use = radio_use(radio) if radio else use_of(spec, plain, situation)
    changes += link_events(radio) if radio else []
    changes += _changes(spec, plain, ride, is_synthetic) + use.events
    # Of what happens at one time, the links change first, then the addresses, then the workload.
    changes.sort(key=lambda change: (change["at_s"], _rank(change)))
    check_presence(changes, use.at_start)
    give_addresses(changes, plain)
    _seed_losses(plain, changes, seed)
    manager = plan_path_manager(spec, plain, use)
    transport = "udp" if spec.workload.name == "udp" else use.transport
    return {
        **_head(spec, plain, transport, seed),
        "sysctls": sysctls(spec, manager),
        "mptcp": mptcp_settings(spec),
        "endpoints": [] if manager else endpoints(spec, use, plain),
        "path_manager": manager,
        "paths_at_start": use.at_start,
        "ride": asdict(ride) if ride else None,
        "coverage": {plain["paths"][0]["name"]: ride.stations} if ride else {},
        "expected_use": {} if manager else use.expected,
        "possible_use": uncertain_use(spec, manager, plain),
        **({"radio": radio} if radio else {}),
        "events": changes,
        "workload": plan_workload(spec, plain, use, seed, open_shares(radio) if radio else None),
        "captures": captures(spec, plain),
        "collectors": collectors(spec, plain),
    }


def _head(spec: ExperimentSpec, plain: dict[str, Any], transport: str, seed: int) -> dict[str, Any]:
    return {
        "schema": RUN_SCHEMA,
        "experiment": spec.name,
        "seed": seed,
        "duration_s": spec.duration,
        "mode": mode_of(spec),
        "transport": transport,
        "topology": plain,
    }


def _plan_datacenter(
    spec: ExperimentSpec, plain: dict[str, Any], changes: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """Return the content of run.json of a network of many servers."""
    check_datacenter(spec)
    use = use_datacenter(spec.mode or FULL)
    if use.transport == "tcp":
        plain = {**plain, "endpoints": {}}
    changes += spec_changes(spec.events, plain)
    changes.sort(key=lambda change: (change["at_s"], _rank(change)))
    mark_queues(spec, plain, changes)
    _seed_losses(plain, changes, seed)
    return {
        **_head(spec, plain, use.transport, seed),
        "sysctls": {"*": buffers(spec), **ecmp_sysctls(plain, seed)},
        "mptcp": {**mptcp_settings(spec), "limits": datacenter_limits(plain)},
        "memory_factor": memory_factor(plain),
        "endpoints": [],
        "paths_at_start": [],
        "ride": None,
        "coverage": {},
        "expected_use": {},
        "events": changes,
        "workload": plan_traffic(spec, plain, use, seed),
        "captures": captures(spec, plain),
        "collectors": datacenter_collectors(spec, plain),
    }


def build_topology(spec: ExperimentSpec) -> Topology:
    """Return the topology that an experiment names, with its parameters.

    Raises:
        PlanError: there is none of that name, or it does not take the parameters.
    """
    given = parameters(spec) if spec.wifi else spec.topology_parameters
    return find_topology(spec.topology_name, given)


def _make_3g(
    spec: ExperimentSpec, topology: Topology, ride: Ride, seed: int, changes: list[dict[str, Any]]
) -> bool:
    """Let the second path's downlink wander and fade, unless it follows a trace of its own.

    Args:
        changes: those of links that follow a trace in CSV.
    """
    if len(topology.paths) < 2:
        return False
    name = topology.first_link(topology.paths[1]["name"])
    downlink = topology.shape(name).b_to_a
    has_csv = any((one["link"], one["direction"]) == (name, "b_to_a") for one in changes)
    if has_csv or downlink.trace is not None or downlink.rate_bps is None:
        return False
    assert spec.ride is not None
    length_ms = round(spec.duration * 1000) + TRACE_MARGIN_MS
    fades = [(round(a * 1000), round(b * 1000)) for a, b in ride.fades]
    times = traces.synthetic(seed, length_ms, downlink.rate_bps, fades, spec.ride.variation)
    topology.shape(name, b_to_a=traced(downlink, SYNTHETIC, times, spec.duration))
    return True


def _situation(spec: ExperimentSpec, plain: dict[str, Any], ride: Ride | None) -> Situation:
    names = [path["name"] for path in plain["paths"]]
    always = [(0.0, spec.duration)]
    if ride is None or spec.ride is None:
        return Situation(names, spec.duration, always, always, [], 0.0)
    usable = usable_spans(spec.ride, ride.stations, spec.duration)
    return Situation(names, spec.duration, ride.stations, usable, ride.fades, spec.ride.promotion)


def _changes(
    spec: ExperimentSpec, plain: dict[str, Any], ride: Ride | None, is_synthetic: bool
) -> list[dict[str, Any]]:
    changes = list(spec_changes(spec.events, plain))
    if ride is None:
        return changes
    covered, *others = [path["hops"][0][0] for path in plain["paths"]]
    if is_synthetic:
        fading = next(one for one in plain["links"] if one["name"] == others[0])
        changes = fade_changes(ride, fading, changes)
    return changes + list(coverage_changes(ride, covered, spec.duration))


def _rank(change: dict[str, Any]) -> int:
    """Order changes of one time: links, what goes, what comes, and then the application."""
    order = {"address_gone": 1, "endpoint_remove": 1, "address_back": 2, "endpoint_add": 2}
    return 3 if change["change"] == "use_path" else order.get(change["change"], 0)


def _seed_losses(plain: dict[str, Any], changes: list[dict[str, Any]], seed: int) -> None:
    """Give each direction of a link that loses packets, or is changed, losses of its own."""
    changed = {change["link"] for change in changes if "link" in change}
    for link in plain["links"]:
        for direction in DIRECTIONS:
            if link[direction]["loss_fraction"] or link["name"] in changed:
                digest = hashlib.sha256(f"loss:{seed}:{link['name']}:{direction}".encode())
                link[direction]["loss_seed"] = int.from_bytes(digest.digest()[:8], "big")


def plan_hash(plans: list[dict[str, Any]]) -> str:
    """Return eight hexadecimal digits that stand for the content of the runs."""
    text = json.dumps(plans, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
