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
    known = run.get("coverage")
    if known is None:
        stations = (run.get("ride") or {}).get("stations")
        known = {} if stations is None else {COVERED_PATH: stations}
    return [Coverage(path, _spans(spans)) for path, spans in known.items()]


def _spans(spans: list[Any]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(start), float(end)) for start, end in spans))


def coverage_of(run: dict[str, Any], path: str) -> Coverage:
    """Return the coverage of one path; one that is not said to come and go is always there."""
    known = {coverage.path: coverage for coverage in coverages(run)}
    return known.get(path, Coverage(path, ((0.0, float("inf")),)))


def expected_use(run: dict[str, Any], path: str) -> Coverage | None:
    """Return when a path was to carry data in the run's mode; None if never.

    A run that does not say was to use every path whenever it was covered.
    """
    known = run.get("expected_use")
    if known is None:
        return coverage_of(run, path)
    return Coverage(path, _spans(known[path])) if path in known else None


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


def direction_of(run: dict[str, Any], link: str, direction: str) -> dict[str, Any]:
    """Return one direction of a link, as in run.json."""
    found: dict[str, Any] = next(
        one[direction] for one in run["topology"]["links"] if one["name"] == link
    )
    return found


def link_changes(run: dict[str, Any], link: str, direction: str) -> list[dict[str, Any]]:
    """Return the timed changes of one direction of a link, in order of time."""
    found = []
    for event in run.get("events") or []:
        if event.get("link") != link:
            continue
        if event["change"] in ("link_down", "link_up"):
            found.append({"at_s": event["at_s"], "is_up": event["change"] == "link_up"})
        elif event.get("direction") == direction:
            found.append(event)
    found += _samples(run, link)
    return sorted(found, key=lambda change: float(change["at_s"]))


def _samples(run: dict[str, Any], link: str) -> list[dict[str, Any]]:
    """Return the changes of a link that is radio: at that level the air follows the samples."""
    radio = run.get("radio") or {}
    if radio.get("level") != "mac80211":
        return []
    return [
        {"at_s": t_s, "rate_bps": rate_bps, "loss_fraction": loss, "is_up": rate_bps > 0}
        for one in radio["links"]
        if one["link"] == link
        for t_s, _, rate_bps, loss in one["samples"]
    ]


def rate_at(way: dict[str, Any], changes: list[dict[str, Any]], at_s: float) -> float:
    """Return a link's rate in bit/s at a time; inf if it is unlimited, 0 while it is down."""
    rate, is_up = way.get("rate_bps"), True
    for change in changes:
        if change["at_s"] > at_s:
            break
        rate, is_up = change.get("rate_bps", rate), change.get("is_up", is_up)
    if not is_up:
        return 0.0
    return float("inf") if rate is None else float(rate)


def capacity_bytes(
    way: dict[str, Any],
    edges: npt.NDArray[np.float64],
    changes: list[dict[str, Any]] | None = None,
) -> npt.NDArray[np.float64]:
    """Return how many IP bytes a link's direction can carry in each bin; inf if unlimited.

    Args:
        way: one direction of a link in run.json.
        edges: n + 1 ascending times in seconds.
        changes: of that direction, from link_changes.
    """
    trace = way.get("trace")
    if trace and trace.get("opportunities_ms"):
        times = opportunities_s(trace, float(edges[-1]))
        return np.diff(np.searchsorted(times, edges, side="left")).astype(float) * OPPORTUNITY_BYTES
    steps = [change for change in changes or [] if "rate_bps" in change]
    times_s = np.array([0.0, *(change["at_s"] for change in steps)])
    first = way.get("rate_bps")
    rates = [np.inf if rate is None else float(rate)
             for rate in (first, *(change["rate_bps"] for change in steps))]  # fmt: skip
    if not np.isfinite(rates).all():
        return np.full(edges.size - 1, np.inf)
    carried = np.concatenate([[0.0], np.cumsum(np.diff(times_s) * rates[:-1])]) / 8
    place = np.maximum(np.searchsorted(times_s, edges, side="right") - 1, 0)
    return np.diff(carried[place] + (edges - times_s[place]) * np.array(rates)[place] / 8)
