# SPDX-License-Identifier: Apache-2.0
"""What the run was asked to be: when each path was covered, and what each link could carry."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

OPPORTUNITY_BYTES = 1500  # of a mahimahi trace, and of the lab's link
COVERED_PATH = "wifi"  # the path that the stations cover


@dataclass(frozen=True)
class Coverage:
    """When a path was covered; `spans` are (start, end) in seconds, ascending."""

    path: str
    spans: tuple[tuple[float, float], ...]

    def changes(self) -> list[tuple[str, float]]:
        """Return ("gained", t_s) and ("lost", t_s) of every span but at 0."""
        found = []
        for start, end in self.spans:
            found += [("gained", start)] if start > 0 else []
            found += [("lost", end)] if np.isfinite(end) else []
        return found

    def seconds_within(self, first_s: float, last_s: float) -> float:
        """Return for how long of [first_s, last_s] the path was covered."""
        return sum(max(min(end, last_s) - max(start, first_s), 0.0) for start, end in self.spans)


def coverages(run: dict[str, Any]) -> list[Coverage]:
    """Return the coverage of the paths that come and go, from run.json."""
    stations = (run.get("ride") or {}).get("stations")
    if stations is None:
        return []
    spans = tuple(sorted((float(start), float(end)) for start, end in stations))
    return [Coverage(COVERED_PATH, spans)]


def coverage_of(run: dict[str, Any], path: str) -> Coverage:
    """Return the coverage of one path; one that is not said to come and go is always there."""
    known = {coverage.path: coverage for coverage in coverages(run)}
    return known.get(path, Coverage(path, ((0.0, float("inf")),)))


@dataclass(frozen=True)
class AccessLink:
    """The link at a path's interface, both directions as in run.json."""

    path: str
    name: str
    rx: dict[str, Any]
    tx: dict[str, Any]
    rx_direction: str  # "a_to_b" or "b_to_a"

    @property
    def round_trip_s(self) -> float:
        """Propagation delay there and back."""
        return sum(float(way.get("one_way_delay_s") or 0.0) for way in (self.rx, self.tx))


def access_links(run: dict[str, Any]) -> list[AccessLink]:
    """Return the link of each path of the topology that has one."""
    found = []
    for path in run["topology"]["paths"]:
        place = (path["node"], path["interface"])
        for link in run["topology"]["links"]:
            up, down = link["a_to_b"], link["b_to_a"]
            if (link["a"], link["a_interface"]) == place:
                found.append(AccessLink(path["name"], link["name"], down, up, "b_to_a"))
            elif (link["b"], link["b_interface"]) == place:
                found.append(AccessLink(path["name"], link["name"], up, down, "a_to_b"))
    return found


def opportunities_s(trace: dict[str, Any], until_s: float) -> npt.NDArray[np.float64]:
    """Return the times of a trace's opportunities from 0 to `until_s`, ascending.

    Run time t is the trace's t + offset_s; the trace repeats with its period if it has one.
    """
    marks = np.asarray(trace.get("opportunities_ms") or [], dtype=np.float64) / 1e3
    offset_s, period_s = float(trace.get("offset_s") or 0), float(trace.get("period_ms") or 0) / 1e3
    if marks.size and period_s > 0:
        first, last = int(offset_s // period_s), int((offset_s + until_s) // period_s)
        rounds = np.arange(first, last + 1)[:, None] * period_s
        marks = (rounds + marks[None, :]).ravel()
    times = marks - offset_s
    return np.sort(times[(times >= 0) & (times <= until_s)])


def capacity_bytes(way: dict[str, Any], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how many IP bytes a link's direction can carry in each bin; inf if unlimited.

    Args:
        way: one direction of a link in run.json.
        edges: n + 1 ascending times in seconds.
    """
    trace = way.get("trace")
    if trace and trace.get("opportunities_ms"):
        times = opportunities_s(trace, float(edges[-1]))
        return np.diff(np.searchsorted(times, edges, side="left")).astype(float) * OPPORTUNITY_BYTES
    rate_bps = way.get("rate_bps")
    if rate_bps is None:
        return np.full(edges.size - 1, np.inf)
    return np.diff(edges) * float(rate_bps) / 8
