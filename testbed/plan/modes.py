# SPDX-License-Identifier: Apache-2.0
"""Modes: how a client uses its paths, and what that means at each time of a run.

The first path of the topology is preferred, the second one takes over. `tcp-<path>` keeps to one
path and `tcp-handover` changes between both as an application does: by a new connection that asks
for the rest. `mptcp-full` uses all at once, `mptcp-backup` keeps the second as a backup, and
`mptcp-single` has one at a time and brings the next one up only when the one before is gone
(Paasch et al., CellNet 2012).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from testbed.errors import PlanError
from testbed.plan.spans import Spans, complement, subtract

FULL, BACKUP, SINGLE, HANDOVER = "mptcp-full", "mptcp-backup", "mptcp-single", "tcp-handover"
TWO_PATHS = (HANDOVER, BACKUP, SINGLE)


@dataclass(frozen=True)
class Situation:
    """When each path can be used, whatever the mode.

    Attributes:
        paths: names, the preferred one first.
        duration_s: of the run.
        coverage: when the preferred path's radio carries packets.
        usable: when the client has an address on it.
        silent: when the second path carries nothing.
        promotion_s: until the second path carries data after it was idle.
    """

    paths: Sequence[str]
    duration_s: float
    coverage: Spans
    usable: Spans
    silent: Spans
    promotion_s: float


@dataclass
class Use:
    """What a mode makes of the paths.

    Attributes:
        transport: "mptcp" or "tcp".
        flags: of the MPTCP endpoint of each path that has one.
        at_start: paths on which the client has an address at the start.
        first_path: what the application's first connection is bound to; None: to no path.
        is_resumed: the application asks for the rest with a new connection.
        events: changes that the mode adds to the run.
        expected: when each path is expected to carry data; a path that is absent must not.
    """

    transport: str
    flags: dict[str, list[str]] = field(default_factory=dict)
    at_start: list[str] = field(default_factory=list)
    first_path: str | None = None
    is_resumed: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[str, Spans] = field(default_factory=dict)


def mode_names(paths: Sequence[str]) -> list[str]:
    """Return the modes that a client with these paths has."""
    names = [f"tcp-{path}" for path in paths]
    return [*names, HANDOVER, FULL, BACKUP, SINGLE] if len(paths) > 1 else [*names, FULL]


def use_paths(mode: str, now: Situation) -> Use:
    """Return what a mode makes of a situation.

    Raises:
        PlanError: there is no such mode.
    """
    names = mode_names(now.paths)
    if mode not in names:
        near = get_close_matches(mode, names, 1, cutoff=0.6)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(names)}"
        raise PlanError(f'mode: "{mode}" is not a mode of this network ({hint})')
    if mode == HANDOVER:
        return _handover(now)
    if mode == SINGLE:
        return _single(now)
    if mode in (FULL, BACKUP):
        return _all_paths(now, is_backup=mode == BACKUP)
    return _one_path(now, mode.removeprefix("tcp-"))


def _one_path(now: Situation, path: str) -> Use:
    """One connection; where the path comes and goes, a new one for the rest each time."""
    if path != now.paths[0]:
        rest = subtract([(0.0, now.duration_s)], now.silent, now.duration_s)
        expected = {path: rest if path == now.paths[1] else [(0.0, now.duration_s)]}
        return Use("tcp", at_start=[path], first_path=path, expected=expected)
    events = _comings_and_goings(now) + [
        {"at_s": start, "change": "use_path", "path": path} for start, _ in now.usable if start > 0
    ]
    events += [
        {"at_s": end, "change": "use_path", "path": None}
        for _, end in now.usable
        if end < now.duration_s
    ]
    is_there = _is_there(now)
    return Use(
        "tcp",
        at_start=[path] if is_there else [],
        first_path=path if is_there else None,
        is_resumed=bool(events),
        events=events,
        expected={path: _carrying(now)},
    )


def _handover(now: Situation) -> Use:
    preferred, second = now.paths[:2]
    events = _comings_and_goings(now)
    for start, _ in now.usable:
        events += [{"at_s": start, "change": "use_path", "path": preferred}] if start > 0 else []
    for start, end in complement(now.usable, now.duration_s):
        if start > 0:
            events.append({"at_s": start, "change": "use_path", "path": None})
        ready = start + now.promotion_s if start > 0 else 0.0
        if 0 < ready < end:
            events.append({"at_s": ready, "change": "use_path", "path": second})
    return Use(
        "tcp",
        at_start=[preferred, second] if _is_there(now) else [second],
        first_path=preferred if _is_there(now) else second,
        is_resumed=bool(events),
        events=events,
        expected={preferred: _carrying(now), second: _second_alone(now)},
    )


def _all_paths(now: Situation, *, is_backup: bool) -> Use:
    preferred, *others = now.paths
    flags = {path: ["subflow", "backup"] if is_backup else ["subflow"] for path in others}
    everywhere = subtract([(0.0, now.duration_s)], now.silent, now.duration_s)
    expected = {path: [(0.0, now.duration_s)] for path in others}
    if others:
        expected[others[0]] = _second_alone(now) if is_backup else everywhere
    return Use(
        "mptcp",
        flags={preferred: ["subflow"], **flags},
        at_start=[preferred, *others] if _is_there(now) else others,
        events=_comings_and_goings(now),
        expected={preferred: _carrying(now), **expected},
    )


def _single(now: Situation) -> Use:
    """Break before make: the second path has no address while the preferred one has."""
    preferred, second = now.paths[:2]
    events = []
    for start, end in complement(now.usable, now.duration_s):
        events += [_gone(preferred, start)] if start > 0 else []
        ready = start + now.promotion_s if start > 0 else 0.0
        if ready < end:
            events += [{"at_s": ready, "change": "address_back", "path": second}] if ready else []
            events += [_gone(second, end)] if end < now.duration_s else []
        if end < now.duration_s:
            events.append({"at_s": end, "change": "address_back", "path": preferred})
    return Use(
        "mptcp",
        flags={preferred: ["subflow"], second: ["subflow"]},
        at_start=[preferred] if _is_there(now) else [second],
        events=events,
        expected={preferred: _carrying(now), second: _second_alone(now)},
    )


def _is_there(now: Situation) -> bool:
    return bool(now.usable) and now.usable[0][0] == 0


def _gone(path: str, at_s: float) -> dict[str, Any]:
    return {"at_s": at_s, "change": "address_gone", "path": path}


def _comings_and_goings(now: Situation) -> list[dict[str, Any]]:
    """Return the changes of the client's address on the preferred path."""
    path, events = now.paths[0], []
    for start, end in now.usable:
        events += [{"at_s": start, "change": "address_back", "path": path}] if start > 0 else []
        events += [_gone(path, end)] if end < now.duration_s else []
    return events


def _carrying(now: Situation) -> Spans:
    """Return when the preferred path has both a radio and an address."""
    unusable = complement(now.usable, now.duration_s)
    return subtract(now.coverage, unusable, now.duration_s)


def _second_alone(now: Situation) -> Spans:
    """Return when only the second path carries data, from its promotion on."""
    gaps = complement(now.usable, now.duration_s)
    ready = [(start + now.promotion_s if start else 0.0, end) for start, end in gaps]
    return subtract([span for span in ready if span[0] < span[1]], now.silent, now.duration_s)
