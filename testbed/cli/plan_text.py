# SPDX-License-Identifier: Apache-2.0
"""What a dry run prints: the network, what happens in it, and the runs."""

from collections.abc import Iterator, Sequence
from typing import Any

from testbed.cli.rates import rate_text, size_text
from testbed.plan import PlannedRun
from testbed.spec.load import Experiment

MAX_EVENTS = 12


def plan_lines(experiment: Experiment, runs: Sequence[PlannedRun], backend: str) -> Iterator[str]:
    """Yield the lines, of the first run's network and of all runs."""
    plan = runs[0].plan
    yield f"{experiment.spec.name}: {experiment.spec.question}"
    yield f"{len(runs)} runs on the backend {backend}, each of at most {plan['duration_s']:g} s"
    yield ""
    yield from _network_lines(plan["topology"], experiment.spec.topology_name)
    yield ""
    yield f"workload: {plan['workload']['name']}"
    yield from _event_lines(plan)
    yield ""
    for run in runs:
        values = ", ".join(f"{key} {value}" for key, value in run.varied.items())
        paths = ", ".join(_endpoint_text(run.plan))
        how = f"{run.plan['transport']} {paths}".rstrip()
        yield f"  {values or run.key}, seed {run.plan['seed']}: {how}"


def _endpoint_text(plan: dict[str, Any]) -> Iterator[str]:
    for endpoint in plan["endpoints"]:
        yield f"{endpoint['path']} ({' '.join(endpoint['flags'])})"


def _network_lines(topology: dict[str, Any], name: str) -> Iterator[str]:
    hosts = [node["name"] for node in topology["nodes"] if node["kind"] == "host"]
    routers = [node["name"] for node in topology["nodes"] if node["kind"] == "router"]
    yield f"topology {name}: {len(hosts)} hosts, {len(routers)} routers"
    for link in topology["links"]:
        for direction, way in (("a_to_b", "->"), ("b_to_a", "<-")):
            if text := _direction_text(link[direction]):
                yield f"  {link['name']:12} {link['a']} {way} {link['b']}: {text}"
    for path in topology["paths"]:
        hops = ", ".join(name for name, _ in path["hops"])
        yield f"  path {path['name']:7} {path['node']} to {path['to']} over {hops}"


def _direction_text(way: dict[str, Any]) -> str:
    parts = []
    if way["trace"]:
        parts.append(f"follows {way['trace']['file']}")
    elif way["rate_bps"] is not None:
        parts.append(rate_text(way["rate_bps"]))
    if way["one_way_delay_s"]:
        parts.append(f"{way['one_way_delay_s'] * 1e3:g} ms")
    if way["queue_bytes"] is not None:
        parts.append(f"queue {size_text(way['queue_bytes'])}{_drain_text(way)}")
    if way["loss_fraction"]:
        parts.append(f"loses {way['loss_fraction']:.3%}")
    return ", ".join(parts)


def _drain_text(way: dict[str, Any]) -> str:
    """Return how long a full queue takes to empty, which bytes alone do not tell."""
    if not way["rate_bps"]:
        return ""
    return f" ({way['queue_bytes'] * 8e3 / way['rate_bps']:.4g} ms)"


def _event_lines(plan: dict[str, Any]) -> Iterator[str]:
    events = plan["events"]
    yield f"{len(events)} timed changes in the first run"
    for event in events[:MAX_EVENTS]:
        rest = " ".join(
            f"{key}={value}" for key, value in event.items() if key not in ("at_s", "change")
        )
        yield f"  {event['at_s']:9.3f} s  {event['change']} {rest}"
    if len(events) > MAX_EVENTS:
        yield f"  ... and {len(events) - MAX_EVENTS} more; --json shows all"
