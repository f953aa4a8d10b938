# SPDX-License-Identifier: Apache-2.0
"""What a dry run prints: the network, what happens in it, and the runs."""

from collections.abc import Iterator, Sequence
from typing import Any

from testbed.cli.rates import rate_text, size_text
from testbed.plan import PlannedRun
from testbed.spec.load import Experiment

# Of each, before the rest is only counted.
MAX_LINKS, MAX_EVENTS = 16, 12
WAYS = (("a_to_b", "up", "->"), ("b_to_a", "down", "<-"))
UP_AND_DOWN = {name: word for name, word, _ in WAYS}


def plan_lines(experiment: Experiment, runs: Sequence[PlannedRun], backend: str) -> Iterator[str]:
    """Yield the lines, of the first run's network and of all runs."""
    plan = runs[0].plan
    yield f"{experiment.spec.name}: {experiment.spec.question}"
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    each = "" if len(runs) == 1 else "each "
    yield f"{count} on the backend {backend}, {each}of at most {plan['duration_s']:g} s"
    yield ""
    yield from _network_lines(plan["topology"], experiment.spec.topology_name)
    yield ""
    yield f"workload: {experiment.spec.workload.name}"
    yield from _event_lines(plan)
    yield ""
    yield from _run_lines(runs)


def _run_lines(runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Yield a line per cell with its seeds."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        values = ", ".join(f"{key} {value}" for key, value in run.varied.items())
        how = f"{run.plan['transport']} {', '.join(_endpoint_text(run.plan))}".rstrip()
        seeds.setdefault(f"{values or run.key}: {how}", []).append(run.plan["seed"])
    for text, mine in seeds.items():
        which = f"seed {mine[0]}" if len(mine) == 1 else f"seeds {mine[0]} to {mine[-1]}"
        yield f"  {text}; {which}"


def _endpoint_text(plan: dict[str, Any]) -> Iterator[str]:
    for endpoint in plan["endpoints"]:
        yield f"{endpoint['path']} ({' '.join(endpoint['flags'])})"


def _network_lines(topology: dict[str, Any], name: str) -> Iterator[str]:
    hosts = [node["name"] for node in topology["nodes"] if node["kind"] == "host"]
    routers = [node["name"] for node in topology["nodes"] if node["kind"] == "router"]
    yield f"topology {name}: {len(hosts)} hosts, {len(routers)} routers"
    lines = [line for link in topology["links"] for line in _link_lines(link)]
    yield from lines[:MAX_LINKS]
    if len(lines) > MAX_LINKS:
        yield f"  ... and {len(lines) - MAX_LINKS} more lines; --json shows all"
    for path in topology["paths"]:
        hops = ", ".join(name for name, _ in path["hops"])
        yield f"  path {path['name']:7} {path['node']} to {path['to']} over {hops}"


def _link_lines(link: dict[str, Any]) -> Iterator[str]:
    """Yield a line per direction, or one for both if they are alike."""
    texts = {arrow: _direction_text(link[name]) for name, _, arrow in WAYS}
    if len({*texts.values()}) == 1:
        texts = {"<->": next(iter(texts.values()))}
    for arrow, text in texts.items():
        if text:
            yield f"  {link['name']:12} {link['a']} {arrow} {link['b']}: {text}"


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
    if not events:
        return
    yield f"{len(events)} timed changes in the first run:"
    for event in events[:MAX_EVENTS]:
        yield f"  {event['at_s']:9.3f} s  {_event_text(event)}"
    if len(events) > MAX_EVENTS:
        yield f"  ... and {len(events) - MAX_EVENTS} more; --json shows all"


def _event_text(event: dict[str, Any]) -> str:
    """Say what happens; what is not about a link in general is said as in run.json."""
    rest = {key: value for key, value in event.items() if key not in ("at_s", "change")}
    if event["change"] in ("link_down", "link_up"):
        return f"link {event['link']} {event['change'].removeprefix('link_')}"
    if event["change"] != "link":
        return " ".join([event["change"], *(f"{key}={value}" for key, value in rest.items())])
    where = f"link {rest.pop('link')} {UP_AND_DOWN[rest.pop('direction')]}stream"
    return f"{where}: {', '.join(_change_text(key, value) for key, value in rest.items())}"


def _change_text(key: str, value: Any) -> str:
    if key == "rate_bps" and value is not None:
        return f"rate {rate_text(value)}"
    if key == "queue_bytes" and value is not None:
        return f"queue {size_text(value)}"
    if key == "one_way_delay_s":
        return f"delay {value * 1e3:g} ms"
    if key == "loss_fraction":
        return f"loses {value:.3%}"
    return f"{key} {value}"
