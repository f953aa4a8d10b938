# SPDX-License-Identifier: Apache-2.0
"""Which access points a station uses when: the timeline of its associations, by its policy.

`single-ap` stays until the access point is lost, and then scans, associates and asks for an
address. `fast-handover` prepares the next one before it leaves the last. `two-nic` has a NIC on
each of two; `one-nic` has one NIC on the channels of several by turns, `all-aps` on all of them.
"""

import heapq
from dataclasses import dataclass
from typing import Any

from testbed.errors import PlanError
from testbed.plan.wifi_air import Air
from testbed.topology import near_miss

SINGLE_AP, FAST_HANDOVER, TWO_NIC = "single-ap", "fast-handover", "two-nic"
ONE_NIC, ALL_APS, TCP = "one-nic", "all-aps", "tcp-"
POLICIES = (SINGLE_AP, FAST_HANDOVER, TWO_NIC, ONE_NIC, ALL_APS)
SLOTTED = (ONE_NIC, ALL_APS)
# Why an access point is given up that still works: what is on its way is to arrive.
GIVEN_UP = ("weak", "better")


@dataclass(frozen=True)
class Change:
    """A NIC can be reached by an access point from now on, or no longer."""

    at_s: float
    nic: str
    ap: str
    is_on: bool
    why: str

    def plain(self) -> dict[str, Any]:
        """Return the change for run.json."""
        return {"at_s": self.at_s, "nic": self.nic, "ap": self.ap, "is_on": self.is_on,
                "why": self.why}  # fmt: skip


def check_policy(name: str, aps: int) -> str:
    """Return the policy that an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    known = [*POLICIES, *(f"{TCP}ap{number + 1}" for number in range(aps))]
    if name not in known:
        hint = near_miss(name, known) or f" (there are {', '.join(known)})"
        raise PlanError(f'mode: "{name}" is not a policy of a station with WiFi{hint}')
    return name


def nics(policy: str) -> list[str]:
    """Return the NICs of a station with a policy."""
    return ["w1", "w2"] if policy == TWO_NIC else ["w1"]


def associations(air: Air, policy: str) -> list[Change]:
    """Return the timeline of a policy, in order of time.

    Raises:
        PlanError: no access point is in range at the start.
    """
    _check_start(air, policy)
    if policy.startswith(TCP):
        return [Change(0.0, "w1", policy.removeprefix(TCP), True, "start")]
    if policy in (SINGLE_AP, FAST_HANDOVER):
        found = _one_at_a_time(air, policy)
    else:
        found = _Several(air, policy).follow()
    return sorted((c for c in found if c.at_s < air.duration_s), key=lambda c: (c.at_s, c.is_on))


def _check_start(air: Air, policy: str) -> None:
    heard = air.best(0.0)
    wanted = policy.removeprefix(TCP) if policy.startswith(TCP) else None
    if heard if wanted is None else wanted in heard:
        return
    here = air.steps[0].point
    aps = [ap for ap in air.access_points if wanted in (None, ap.name)]
    nearest = min(aps, key=lambda ap: ap.place.distance_m(here))
    reach_m = air.propagation.range_m(nearest.channel, air.edge_dbm)
    raise PlanError(
        f"wifi: {wanted or 'no access point'} is {'not ' if wanted else ''}in range at the start, "
        f"at {here.x_m:g} m, {here.y_m:g} m: {nearest.name} is "
        f"{nearest.place.distance_m(here):.0f} m away and reaches about {reach_m:.0f} m; start "
        "nearer to it"
    )


def _one_at_a_time(air: Air, policy: str) -> list[Change]:
    """Follow one NIC that has one access point, or none while it looks for one."""
    joining, nic = air.spec.joining, "w1"
    current = air.best(0.0)[0]
    found, busy_until_s = [Change(0.0, nic, current, True, "start")], 0.0
    known = _Known(air)
    for at_s in air.times():
        known.look(at_s)
        if at_s < busy_until_s:
            continue
        if not air.is_heard(current, at_s):
            gone_s = at_s + joining.detection
            found.append(Change(gone_s, nic, current, False, "lost"))
            if (after := _scan(air, gone_s)) is None:
                return found
            current, busy_until_s = after
            found.append(Change(busy_until_s, nic, current, True, "scan"))
            known.all_heard(busy_until_s)
        elif policy == FAST_HANDOVER:
            better = _better(air, current, known.names(), at_s)
            if better is not None:
                there_s = at_s + joining.association
                busy_until_s = there_s + max(joining.association, joining.drain)
                found.append(Change(there_s, nic, better, True, "better"))
                found.append(Change(busy_until_s, nic, current, False, "better"))
                current = better
    return found


def _scan(air: Air, at_s: float) -> tuple[str, float] | None:
    """Return what a scan finds that begins now, and from when on it can be used."""
    joining = air.spec.joining
    while (at_s := at_s + joining.scan) < air.duration_s:
        if heard := air.best(at_s):
            return heard[0], at_s + joining.association + joining.dhcp
        if not joining.scan:
            at_s += air.spec.sample
    return None


def _better(air: Air, current: str, names: list[str], at_s: float) -> str | None:
    """Return the access point of which enough more beacons were heard than of this one."""
    rivals = [name for name in names if name != current and air.is_heard(name, at_s)]
    if not rivals:
        return None
    count, signal, name = max(
        (air.beacons(name, at_s), air.signal_dbm(name, at_s), name) for name in rivals
    )
    is_better = count >= air.beacons(current, at_s) + air.spec.joining.hysteresis
    return name if is_better and signal > air.signal_dbm(current, at_s) else None


class _Known:
    """Which access points the station knows: those that it has heard when it listened there."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._known = set(air.best(0.0))
        self._channels = sorted({ap.channel for ap in air.access_points})
        self._scanned = 0

    def names(self) -> list[str]:
        """Return the known ones."""
        return sorted(self._known)

    def look(self, at_s: float) -> None:
        """Take in the background scans until now, and forget what is not heard any more."""
        period_s = self._air.spec.scans.period
        while period_s is not None and (self._scanned + 1) * period_s <= at_s:
            channel = self._channels[self._scanned % len(self._channels)]
            self._scanned += 1
            heard = self._air.best(at_s)
            self._known |= {name for name in heard if self._air.channel(name) == channel}
        self._known = {name for name in self._known if self._air.is_heard(name, at_s)}

    def all_heard(self, at_s: float) -> None:
        """Take in a scan of all channels that ends now."""
        self._known |= set(self._air.best(at_s))


class _Several:
    """Follow a station that has several access points, each by its own address."""

    def __init__(self, air: Air, policy: str) -> None:
        self._air, self._policy = air, policy
        self._nics = nics(policy)
        slots = air.spec.slots
        self._most = {TWO_NIC: 2, ONE_NIC: slots.max_channels, ALL_APS: air.spec.aps}[policy]
        self._members: dict[str, str] = {}  # access point -> NIC
        self._coming: list[tuple[float, str, str, str]] = []  # time, access point, NIC, why
        self._busy_until_s: dict[str, float] = {}
        self._known = _Known(air)
        self._found: list[Change] = []

    def follow(self) -> list[Change]:
        """Return the timeline."""
        for name in self._air.best(0.0):
            if self._has_room(name):
                self._join(name, 0.0, "start", 0.0)
        self._arrive(0.0)
        for at_s in self._air.times():
            self._arrive(at_s)
            self._known.look(at_s)
            self._leave(at_s)
            if not self._members and not self._coming:
                self._look_everywhere(at_s)
            else:
                self._improve(at_s)
        self._arrive(self._air.duration_s)
        return self._found

    def _has_room(self, name: str) -> bool:
        taken = [*self._members, *(one[1] for one in self._coming)]
        if name in taken or len(taken) >= self._most:
            return False
        channels = {self._air.channel(one) for one in taken}
        return self._policy != ONE_NIC or self._air.channel(name) not in channels

    def _join(self, name: str, at_s: float, why: str, takes_s: float) -> None:
        nic = self._nics[0]
        if self._policy == TWO_NIC:
            used = {*self._members.values(), *(one[2] for one in self._coming)}
            nic = next(one for one in self._nics if one not in used)
        begins_s = max(at_s, self._busy_until_s.get(nic, 0.0))
        heapq.heappush(self._coming, (begins_s + takes_s, name, nic, why))

    def _arrive(self, now_s: float) -> None:
        while self._coming and self._coming[0][0] <= now_s:
            at_s, name, nic, why = heapq.heappop(self._coming)
            if self._air.is_heard(name, at_s):
                self._members[name] = nic
                self._found.append(Change(at_s, nic, name, True, why))

    def _leave(self, at_s: float) -> None:
        for name, nic in list(self._members.items()):
            if not self._air.is_heard(name, at_s):
                self._drop(name, nic, at_s + self._air.spec.joining.detection, "lost")
            elif len(self._members) > 1 and not self._air.is_good(name, at_s, 1):
                self._drop(name, nic, at_s + self._air.spec.joining.drain, "weak")

    def _drop(self, name: str, nic: str, at_s: float, why: str) -> None:
        del self._members[name]
        self._found.append(Change(at_s, nic, name, False, why))
        self._busy_until_s[nic] = at_s

    def _look_everywhere(self, at_s: float) -> None:
        gone_s = max([at_s, *self._busy_until_s.values()])
        if (after := _scan(self._air, gone_s)) is not None:
            name, ready_s = after
            self._busy_until_s.clear()
            self._join(name, ready_s, "scan", 0.0)
            self._known.all_heard(ready_s)

    def _improve(self, at_s: float) -> None:
        """Join one more if there is room, or exchange the worst for a better one."""
        joining = self._air.spec.joining
        takes_s = joining.association + joining.dhcp
        if len(self._members) < len(self._nics) and self._policy == TWO_NIC:
            self._known.all_heard(at_s)  # a NIC that has nothing to do scans all the time
        known = [name for name in self._air.best(at_s) if name in self._known.names()]
        for name in known:
            if self._has_room(name) and self._air.is_good(name, at_s, 2):
                self._join(name, at_s, "heard", takes_s)
        if len(self._members) < self._most or self._coming:
            return
        worst = min(self._members, key=lambda name: self._air.signal_dbm(name, at_s))
        outside = [name for name in known if name not in self._members]
        better = _better(self._air, worst, outside, at_s)
        if better is not None:
            self._drop(worst, self._members[worst], at_s + joining.drain, "better")
            if self._has_room(better):
                self._join(better, at_s, "better", takes_s)
