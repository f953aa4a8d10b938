# SPDX-License-Identifier: Apache-2.0
"""What an experiment says of its links, put upon what the topology says of them."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from testbed import traces
from testbed.errors import PlanError
from testbed.spec.document import read_text
from testbed.spec.model import DirectionSpec, LinkSpec, TraceSpec
from testbed.topology import Direction, Topology

# A run keeps its trace a little longer than the workload's time, so that it cannot run dry.
TRACE_MARGIN_MS = 1000

# direction -> its name in an experiment file
DIRECTIONS = {"a_to_b": "up", "b_to_a": "down"}
MAX_QUEUE_BYTES = 2**32 - 1

Events = list[dict[str, Any]]


@functools.lru_cache(maxsize=16)
def load_trace(path: Path) -> traces.Trace:
    """Read a trace in mahimahi's format or as CSV.

    Raises:
        SpecError: it cannot be read or is wrong.
    """
    return traces.parse_trace(read_text(path, "trace"), str(path))


def shape_links(
    topology: Topology, links: dict[str, LinkSpec], folder: Path, duration_s: float
) -> Events:
    """Give the topology's links the experiment's properties; return the changes of CSV traces.

    Raises:
        PlanError: there is no such link, or its queue cannot be sized.
    """
    events: Events = []
    for name, spec in links.items():
        link = topology.shape(name)
        for direction, side in DIRECTIONS.items():
            own = getattr(spec, side) or DirectionSpec()
            place = f"links.{name}"
            shaped = _merge(getattr(link, direction), spec, own, place)
            wanted = own.trace or (spec.trace if side == "down" else None)
            if wanted is not None:
                shaped, more = _follow(shaped, wanted, folder, duration_s)
                events += [{**e, "link": name, "direction": direction} for e in more]
            topology.shape(name, **{direction: shaped})
    return events


def _merge(base: Direction, both: DirectionSpec, own: DirectionSpec, place: str) -> Direction:
    """Return a direction with the values of its own section, else of both directions'."""

    def said(key: str) -> Any:
        value = getattr(own, key)
        return getattr(both, key) if value is None else value

    rate = base.rate_bps if said("rate") is None else said("rate")
    delay, loss, queue = said("one_way_delay"), said("loss"), said("queue")
    return replace(
        base,
        rate_bps=rate,
        one_way_delay_s=base.one_way_delay_s if delay is None else delay,
        loss_fraction=base.loss_fraction if loss is None else loss,
        queue_bytes=base.queue_bytes if queue is None else queue_bytes(queue, rate, place),
    )


def queue_bytes(queue: dict[str, float], rate_bps: int | None, place: str) -> int:
    """Return a queue's limit in bytes; one in seconds is what the rate carries in that time.

    Raises:
        PlanError: a time without a rate, or a limit that the kernel does not take.
    """
    if "seconds" in queue:
        if rate_bps is None:
            raise PlanError(f"{place}.queue is a time, so the link needs a rate to count it with")
        size = round(queue["seconds"] * rate_bps / 8)
    else:
        size = int(queue["bytes"])
    if not 0 < size <= MAX_QUEUE_BYTES:
        raise PlanError(
            f"{place}.queue comes to {size} bytes; a queue has 1 to {MAX_QUEUE_BYTES} bytes"
        )
    return size


def _follow(
    shaped: Direction, wanted: TraceSpec | str, folder: Path, duration_s: float
) -> tuple[Direction, Events]:
    """Return a direction that follows a trace, and the changes if the trace is CSV."""
    spec = TraceSpec(file=wanted) if isinstance(wanted, str) else wanted
    path = folder / spec.file
    trace = load_trace(path)
    length_ms = round(duration_s * 1000) + TRACE_MARGIN_MS
    if trace.times_ms:
        times = traces.cut(trace.times_ms, round(spec.offset * 1000), length_ms, spec.loop)
        return traced(shaped, path.name, times, duration_s), []
    return shaped, traces.changes(trace.steps, spec.offset, duration_s, spec.loop)


def traced(shaped: Direction, name: str, times_ms: list[int], duration_s: float) -> Direction:
    """Return a direction that follows opportunities instead of its rate.

    Raises:
        PlanError: there is none within the run.
    """
    if not times_ms or times_ms[0] > duration_s * 1000:
        raise PlanError(f"{name}: the link can deliver nothing within {duration_s:g} s")
    trace = {"file": name, "offset_s": 0, "opportunities_ms": times_ms, "period_ms": 0}
    return replace(shaped, rate_bps=None, trace=trace)
