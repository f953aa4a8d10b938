# SPDX-License-Identifier: Apache-2.0
"""The scenes in which coupled congestion control is judged, as plain data: links and flows.

- `bottleneck`: both subflows and one TCP connection share a link (RFC 6356: no more than TCP).
- `loss-rtt`: two paths that lose packets, whose queues are never the limit; a TCP connection on
  each says what the path alone gives (Wischik et al., NSDI 2011). They do not meet: the links are
  some ten times faster than what the losses leave.
- `two-bottlenecks`: five MPTCP users have a link of their own and a second one that five TCP users
  need more (Khalili et al., ToN 2013, problem P1).

Data go from the clients to the server, so what limits them are the links' directions a_to_b.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.errors import PlanError
from testbed.plan.modes import Use
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import FairnessSpec
from testbed.topology import Direction, Topology, near_miss

BOTTLENECK, LOSS_RTT, TWO_BOTTLENECKS = "bottleneck", "loss-rtt", "two-bottlenecks"
CLIENT, RIVALS, SERVER = "client", ("rival1", "rival2"), "server"
PATHS = ("first", "second")

# One port per transport, because a listener speaks one; what listens says the congestion control.
PORTS = {"mptcp": 5001, "tcp": 5002}

# Of links that lose packets and limit nobody.
FAST_BPS, DEEP_BYTES = 200_000_000, 5_000_000

# Flows go on a little longer than is measured, so that none ends before the last mark.
MARGIN_S = 0.5

# Half of what the kernel makes of it. A buffer that grows with the flow holds MPTCP back while one
# subflow waits for the other, and then congestion control is not what is measured.
RECEIVE_BYTES = 8 << 20

# MPTCP lets a subflow wait while data that it gave to a slower one are on their way. After such a
# pause TCP would start slowly, which is the scheduler's doing and not congestion control's.
SYSCTLS = {"net.ipv4.tcp_slow_start_after_idle": 0}


@dataclass(frozen=True)
class Scene:
    """A network and who sends in it.

    Attributes:
        links: what limits the data of a link, by its name.
        users: MPTCP connections of the client.
        rivals: TCP connections of each rival, by its name.
        warm_up_s, measured_s: how long, if the experiment does not say.
    """

    links: Mapping[str, Direction]
    users: int
    rivals: Mapping[str, int]
    warm_up_s: float
    measured_s: float


def _queueing(rate_bps: int, rtt_s: float) -> Direction:
    """Return a bottleneck whose queue holds what is on the way in a round trip."""
    return Direction(rate_bps, rtt_s / 2, round(rate_bps * rtt_s / 8))


def _lossy(loss: float, rtt_s: float) -> Direction:
    """Return a link that loses packets and limits nobody."""
    return Direction(FAST_BPS, rtt_s / 2, DEEP_BYTES, loss_fraction=loss)


SCENES = {
    BOTTLENECK: Scene({"shared": _queueing(20_000_000, 0.040)}, 1, {"rival2": 1}, 15, 60),
    LOSS_RTT: Scene(
        {"first": _lossy(0.04, 0.010), "second": _lossy(0.01, 0.100)},
        1,
        {"rival1": 1, "rival2": 1},
        15,
        120,
    ),
    TWO_BOTTLENECKS: Scene(
        {"first": _queueing(10_000_000, 0.080), "second": _queueing(5_000_000, 0.080)},
        5,
        {"rival2": 5},
        30,
        90,
    ),
}


def fairness_scene(spec: ExperimentSpec) -> str:
    """Return the scene, which an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    name = spec.mode or BOTTLENECK
    if name not in SCENES:
        hint = near_miss(name, SCENES) or f" (there are {', '.join(SCENES)})"
        raise PlanError(f'mode: "{name}" is not a scene of the workload "fairness"{hint}')
    return name


def shape_scene(spec: ExperimentSpec, topology: Topology) -> None:
    """Make the bottlenecks of a scene; what the experiment says of its links comes after it.

    Raises:
        PlanError: there is no such scene, or the network has not what it needs.
    """
    links = {link.name for link in topology.typed_links}
    for name, way in SCENES[fairness_scene(spec)].links.items():
        if name not in links:
            raise PlanError(
                f'the workload "fairness" needs a link "{name}", which the topology '
                f'"{spec.topology_name}" does not have; use "judging"'
            )
        topology.shape(name, way, Direction(one_way_delay_s=way.one_way_delay_s))


def fairness_use(spec: ExperimentSpec, plain: dict[str, Any]) -> Use:
    """Return how the client uses its paths: both, from the start to the end.

    Raises:
        PlanError: the network has not the hosts or paths that it needs.
    """
    nodes = {node["name"] for node in plain["nodes"]}
    paths = {path["name"] for path in plain["paths"]}
    missing = [n for n in (CLIENT, *RIVALS, SERVER) if n not in nodes]
    missing += [name for name in PATHS if name not in paths]
    if missing:
        raise PlanError(
            f'the workload "fairness" needs "{missing[0]}", which the topology '
            f'"{spec.topology_name}" does not have; use "judging"'
        )
    return Use("mptcp", {name: ["subflow"] for name in PATHS}, [*PATHS])


def plan_fairness(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return "workload" of run.json, but for what all workloads have."""
    workload = spec.workload
    assert isinstance(workload, FairnessSpec)
    name = fairness_scene(spec)
    scene = SCENES[name]
    warm_up_s = workload.warm_up or scene.warm_up_s
    end_s = warm_up_s + (workload.measured or scene.measured_s)
    if end_s + MARGIN_S > spec.duration or workload.stagger >= warm_up_s:
        raise PlanError(
            f"workload: the last start at {workload.stagger:g} s, the end of the warm-up at "
            f"{warm_up_s:g} s, that of what is measured at {end_s:g} s and, {MARGIN_S} s later or "
            f"more, the run's end at {spec.duration:g} s must follow one another"
        )
    chance = random.Random(f"fairness:{seed}")
    who: list[tuple[str, str, str | None]] = [(CLIENT, "mptcp", None)] * scene.users
    who += [(host, "tcp", workload.rival) for host, n in scene.rivals.items() for _ in range(n)]
    flows = [
        _flow(number, one, topology, round(chance.uniform(0, workload.stagger), 6), end_s)
        for number, one in enumerate(who)
    ]
    return {
        "name": "bulk",
        "scene": name,
        "rival": workload.rival,
        "flows": flows,
        "record_blocks": False,
        "seed": seed,
        "warm_up_s": warm_up_s,
        "measured_s": end_s - warm_up_s,
        "marks_s": [warm_up_s, end_s],
    }


def _flow(
    number: int,
    who: tuple[str, str, str | None],
    topology: dict[str, Any],
    start_s: float,
    end_s: float,
) -> dict[str, Any]:
    host, transport, control = who
    (address,) = (link["b_address"] for link in topology["links"] if link["b"] == SERVER)
    return {
        "id": number,
        "client": host,
        "server": SERVER,
        "address": address,
        "port": PORTS[transport],
        "direction": "up",
        "transport": transport,
        "congestion_control": control,
        "receive_buffer_bytes": RECEIVE_BYTES,
        "start_s": start_s,
        "duration_s": round(end_s - start_s + MARGIN_S, 6),
    }
