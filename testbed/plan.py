# SPDX-License-Identifier: Apache-2.0
"""Turns an experiment into runs: plain data that needs neither the file nor this machine."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import content, traces
from testbed.errors import PlanError, SpecError
from testbed.render import render
from testbed.spec.model import ExperimentSpec, LinkSpec, RideSpec
from testbed.topology import Direction
from topologies.underground import Underground

PROXY_PORT = 3128
ORIGIN_PORT = 8080

# A ride keeps its trace a little longer than the workload's time, so that it cannot run dry.
TRACE_MARGIN_MS = 1000


@dataclass(frozen=True)
class Trace:
    """A recorded trace that the user named.

    Attributes:
        name: the file's name, for figures and messages.
        times_ms: of its opportunities.
    """

    name: str
    times_ms: list[int]


def load_trace(path: Path) -> Trace:
    """Read a trace in mahimahi's format.

    Raises:
        SpecError: it cannot be read or is wrong.
    """
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: the trace is not text; it needs a time in ms per line") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: the trace cannot be read: {reason}") from error
    return Trace(path.name, traces.parse_mahimahi(text, str(path)))


def plan_run(spec: ExperimentSpec, trace_3g: Trace | None) -> dict[str, Any]:
    """Return the content of run.json.

    Raises:
        PlanError: the experiment is well formed but cannot be carried out.
    """
    stations = ride_stations(spec.ride, spec.duration)
    topology = _topology(spec, trace_3g)
    workload = _workload(spec, topology)
    return {
        "schema": 1,
        "experiment": spec.name,
        "seed": spec.seed,
        "duration_s": spec.duration,
        "topology": topology,
        "sysctls": {},
        "mptcp": spec.mptcp.model_dump(),
        "ride": {"stations": stations},
        "events": ride_events(spec.ride, stations, spec.duration),
        "workload": workload,
        "captures": [
            {**path, "path": path["name"], "file": f"{path['node']}.{path['name']}.pcap"}
            for path in topology["paths"]
        ],
        "collectors": {
            "ss": {"nodes": ["laptop", "proxy"], "interval_s": spec.collectors.ss_interval},
            "nstat": {"nodes": ["laptop", "proxy"]},
        },
    }


def ride_stations(ride: RideSpec, duration_s: float) -> list[list[float]]:
    """Return start and end of every stop within a duration; the ride begins in a station."""
    if ride.tunnel == 0:
        return [[0.0, duration_s]]
    period_s = ride.dwell + ride.tunnel
    count = int(duration_s / period_s) + 1
    starts = [number * period_s for number in range(count)]
    stops = [[start, min(start + ride.dwell, duration_s)] for start in starts]
    return [stop for stop in stops if stop[0] < stop[1]]


def ride_events(
    ride: RideSpec, stations: Sequence[Sequence[float]], duration_s: float
) -> list[dict[str, Any]]:
    """Return the changes of the WiFi link and of the laptop's address on it.

    A tunnel that is shorter than the detection costs packets, but not the address.
    """
    notices = ride.detection < ride.tunnel
    events: list[dict[str, Any]] = []
    for start, end in stations or [(0.0, 0.0)]:
        if start > 0:
            events.append({"at_s": start, "change": "link_up", "link": "wifi"})
            joined = start + ride.association
            back = {"at_s": joined, "change": "address_back", "path": "wifi"}
            events += [back] if notices else []
        events.append({"at_s": end, "change": "link_down", "link": "wifi"})
        gone = {"at_s": end + ride.detection, "change": "address_gone", "path": "wifi"}
        events += [gone] if notices else []
    return sorted(
        (event for event in events if event["at_s"] < duration_s), key=lambda event: event["at_s"]
    )


def _topology(spec: ExperimentSpec, trace_3g: Trace | None) -> dict[str, Any]:
    wifi, cell = spec.links.wifi, spec.links.cell
    length_ms = round(spec.duration * 1000) + TRACE_MARGIN_MS
    if trace_3g is None:
        fades = _fades_ms(spec.ride, spec.duration)
        name = "synthetic ride"
        times = traces.synthetic(spec.seed, length_ms, cell.rate, fades)
    else:
        name = trace_3g.name
        times = traces.cut(trace_3g.times_ms, 0, length_ms)
    if not times or times[0] > spec.duration * 1000:
        raise PlanError(f"{name}: the 3G link can deliver nothing within {spec.duration:g} s")
    trace = {"file": name, "offset_s": 0, "opportunities_ms": times, "period_ms": 0}
    return Underground(
        wifi_up=_direction(wifi),
        wifi_down=_direction(wifi),
        cell_up=_direction(cell),
        cell_down=_direction(cell, trace),
    ).plain()


def _direction(link: LinkSpec, trace: dict[str, Any] | None = None) -> Direction:
    return Direction(
        rate_bps=None if trace else link.rate,
        one_way_delay_s=link.one_way_delay,
        queue_bytes=link.queue,
        loss_fraction=link.loss,
        trace=trace,
    )


def _fades_ms(ride: RideSpec, duration_s: float) -> list[tuple[int, int]]:
    """Return the times without 3G: in the middle of every tunnel."""
    period_s = ride.dwell + ride.tunnel
    middles = [
        number * period_s + ride.dwell + ride.tunnel / 2
        for number in range(int(duration_s / period_s) + 1)
    ]
    half_s = min(ride.fade, ride.tunnel) / 2
    return [(round((m - half_s) * 1000), round((m + half_s) * 1000)) for m in middles]


def _workload(spec: ExperimentSpec, topology: dict[str, Any]) -> dict[str, Any]:
    proxy, origin = (_address_of(topology, name) for name in ("proxy", "origin"))
    return {
        "name": spec.workload.name,
        "client": "laptop",
        "proxy": {"node": "proxy", "address": proxy, "port": PROXY_PORT},
        "origin": {"node": "origin", "address": origin, "port": ORIGIN_PORT},
        "size_bytes": spec.workload.size,
        "seed": spec.seed,
        "sha256": content.sha256(spec.seed, spec.workload.size),
        "squid_conf": render(
            "squid.conf.j2", port=PROXY_PORT, clients="10.0.0.0/8", scratch="/tmp/download"
        ),
    }


def _address_of(topology: dict[str, Any], node: str) -> str:
    """Return the address of a host on its first link."""
    for link in topology["links"]:
        for side in "ab":
            if link[side] == node:
                return str(link[f"{side}_address"])
    raise PlanError(f'the topology has no link at the node "{node}"')


def plan_hash(plan: dict[str, Any]) -> str:
    """Return eight hexadecimal digits that stand for the content of a run.json."""
    text = json.dumps(plan, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
