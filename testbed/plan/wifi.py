# SPDX-License-Identifier: Apache-2.0
"""A station among access points as plain data: what it hears, whom it joins, what links carry."""

from dataclasses import replace
from typing import Any

from testbed.errors import PlanError
from testbed.plan.links import queue_bytes
from testbed.plan.modes import Use
from testbed.plan.wifi_air import Air
from testbed.plan.wifi_policy import (
    GIVEN_UP,
    SINGLE_AP,
    SLOTTED,
    TCP,
    TWO_NIC,
    Change,
    associations,
    check_policy,
    nics,
)
from testbed.radio.airtime import radio_share, shared_rates
from testbed.radio.propagation import frequency_mhz
from testbed.spec.model import ExperimentSpec
from testbed.spec.wifi import WifiSpec
from testbed.topology import Topology

TOPOLOGY = "wifi_street"
DIRECTIONS = ("a_to_b", "b_to_a")
# At the other level the radios do what the plan's samples and associations say.
GATE = "gate"
# Three round trips for MP_JOIN: then another subflow can say that an address is gone.
JOIN_S = 0.06
Radio = dict[str, Any]


def policy_of(spec: ExperimentSpec) -> str:
    """Return the station's policy, which an experiment names as its mode."""
    assert spec.wifi is not None
    return check_policy(spec.mode or TWO_NIC, spec.wifi.aps)


def parameters(spec: ExperimentSpec) -> dict[str, Any]:
    """Return the parameters of the topology, which the section "wifi" decides.

    Raises:
        PlanError: the topology is another one, or its parameters are given twice.
    """
    assert spec.wifi is not None
    if spec.topology_name != TOPOLOGY:
        raise PlanError(
            f'wifi: the topology "{spec.topology_name}" has no access points; use "{TOPOLOGY}"'
        )
    if spec.topology_parameters:
        raise PlanError(
            "topology.parameters: the section wifi says how many access points and NICs"
        )
    return {"aps": spec.wifi.aps, "nics": len(nics(policy_of(spec)))}


def plan_radio(spec: ExperimentSpec, seed: int) -> Radio:
    """Return "radio" of run.json.

    Raises:
        PlanError: no access point is in range at the start.
    """
    wifi, policy = spec.wifi, policy_of(spec)
    assert wifi is not None
    air = Air(wifi, seed, spec.duration)
    changes = associations(air, policy)
    channels = {ap.name: ap.channel for ap in air.access_points}
    scanning = _scans(wifi, policy, spec.duration)
    slots = _slots(wifi, changes, channels) if policy in SLOTTED else None
    return {
        "level": wifi.level,
        "scene": wifi.scene,
        "policy": policy,
        "seed": seed,
        "phy": wifi.phy,
        "edge_dbm": air.edge_dbm,
        "map_m": list(wifi.map),
        "aps": [
            {
                "name": ap.name,
                "channel": ap.channel,
                "frequency_mhz": frequency_mhz(ap.channel),
                "ssid": ap.name,
                "position_m": list(ap.place),
                "coverage_m": air.propagation.range_m(ap.channel, air.edge_dbm),
                "outages": [list(outage) for outage in ap.outages],
            }
            for ap in air.access_points
        ],
        "station": {"node": "station", "nics": nics(policy)},
        "walk": [[step.at_s, *step.point] for step in air.steps],
        "links": [
            {
                "nic": nic,
                "ap": ap,
                "link": f"{nic}-{ap}",
                "path": f"{nic}-{ap}",
                "samples": _samples(air, changes, nic, ap),
            }
            for nic in nics(policy)
            for ap in channels
        ],
        "policy_numbers": {
            **{
                f"{key}_s": getattr(wifi.joining, key)
                for key in ("detection", "scan", "association", "dhcp", "window", "drain")
            },
            "hysteresis_beacons": wifi.joining.hysteresis,
            "margin_db": wifi.joining.margin,
            "scan_period_s": wifi.scans.period or 0,
            "scan_channel_s": wifi.scans.channel,
            "sample_s": wifi.sample,
            "join_s": _join_s(wifi, slots, scanning),
        },  # fmt: skip
        "associations": [change.plain() for change in changes],
        "scans": scanning,
        "slots": slots,
        "probe_s": wifi.probe,
    }


def _samples(air: Air, changes: list[Change], nic: str, ap: str) -> list[list[float]]:
    """Return when a link changes, and its signal, rate and loss from then on."""
    found: list[list[float]] = []
    for at_s in sorted({*air.times(), *(change.at_s for change in changes)}):
        quality = air.quality(ap, at_s)
        rate = shared_rates([float(quality.rate_bps)] * (1 + air.spec.stations))[0]
        rate_bps = int(rate * _share(air, changes, nic, ap, at_s))
        if not found or [rate_bps, quality.loss_fraction] != found[-1][2:]:
            signal_dbm = max(air.signal_dbm(ap, at_s), -200.0)
            found.append([at_s, round(signal_dbm, 1), rate_bps, quality.loss_fraction])
    return found


def _share(air: Air, changes: list[Change], nic: str, ap: str, at_s: float) -> float:
    """Return what the station's other NIC leaves."""
    on: dict[tuple[str, str], bool] = {}
    for change in changes:
        if change.at_s <= at_s:
            on[change.nic, change.ap] = change.is_on
    others = [air.channel(name) for (one, name), is_on in on.items() if is_on and one != nic]
    return radio_share(air.channel(ap), others)


def _scans(wifi: WifiSpec, policy: str, duration_s: float) -> list[list[Any]]:
    """Return the background scans: begin, end, and the NIC that is off its channel."""
    if wifi.scans.period is None or policy == SINGLE_AP or policy.startswith(TCP):
        return []
    nic, period_s = nics(policy)[-1], wifi.scans.period
    starts = [number * period_s for number in range(1, int(duration_s / period_s) + 1)]
    return [
        [round(at_s, 6), round(at_s + wifi.scans.channel, 6), nic]
        for at_s in starts
        if at_s < duration_s
    ]


def _slots(wifi: WifiSpec, changes: list[Change], channels: dict[str, int]) -> dict[str, Any]:
    """Return the slots of one NIC, and of each time whose links are open together in turn."""
    epochs: list[dict[str, Any]] = []
    members: list[str] = []
    for change in changes:
        if change.is_on:
            members.append(change.ap)
        else:
            members.remove(change.ap)
        groups = {channel: [f"w1-{ap}" for ap in sorted(members) if channels[ap] == channel]
                  for channel in sorted({channels[ap] for ap in members})}  # fmt: skip
        epoch = {"at_s": change.at_s, "cycle": list(groups.values())}
        if epochs and epochs[-1]["at_s"] == change.at_s:
            epochs[-1] = epoch
        else:
            epochs.append(epoch)
    return {
        "nic": "w1",
        "slot_s": wifi.slots.slot,
        "switch_s": wifi.slots.switch,
        "is_adaptive": wifi.slots.adaptive,
        "silence_s": wifi.slots.silence,
        "epochs": epochs,
    }


def shape_radio_links(topology: Topology, radio: Radio, queue: dict[str, float]) -> None:
    """Give each link its queue and what it carries at the start, or first if it is out of range."""
    for one in radio["links"]:
        way = topology.shape(one["link"]).a_to_b
        rate_bps = next((int(sample[2]) for sample in one["samples"] if sample[2]), way.rate_bps)
        limit = queue_bytes(queue, rate_bps, "wifi")
        way = replace(way, rate_bps=rate_bps, queue_bytes=limit)
        topology.shape(one["link"], way, way)


def radio_use(radio: Radio) -> Use:
    """Return how the station uses its paths: each comes and goes with its association."""
    policy, changes = radio["policy"], radio["associations"]
    paths = [one["path"] for one in radio["links"]]
    at_start = [f"{c['nic']}-{c['ap']}" for c in changes if c["at_s"] == 0 and c["is_on"]]
    if policy.startswith(TCP):
        return Use("tcp", at_start=at_start, first_path=at_start[0])
    numbers = radio["policy_numbers"]
    drain_s = numbers["drain_s"]
    modelled = changes if radio["level"] == GATE else []
    events = [
        event
        for one in modelled
        if one["at_s"] > 0
        for event in _path_events(one, drain_s, _told_s(one, modelled, numbers["join_s"]))
    ]
    flags = {path: ["subflow"] for path in paths}
    return Use("mptcp", flags=flags, at_start=at_start, events=events)


def _join_s(wifi: WifiSpec, slots: dict[str, Any] | None, scans: list[list[Any]]) -> float:
    """Return when a new subflow can say something at the latest: the NIC may be away just then."""
    switch_s = wifi.slots.switch if slots else 0.0
    return JOIN_S + switch_s + (wifi.scans.channel if scans else 0.0)


def _told_s(change: dict[str, Any], changes: list[dict[str, Any]], join_s: float) -> float:
    """Return when the address of an association goes.

    The server learns of it (REMOVE_ADDR) over another subflow. If there is none any more, the
    station waits for the next one; else the server would find out by its retransmission timer.
    """
    at_s: float = change["at_s"]
    later = [one for one in changes if one["at_s"] > at_s]
    if not later or _is_on(changes, at_s):
        return at_s
    told_s = round(float(later[0]["at_s"]) + join_s, 6)
    comes_back = any(
        one["at_s"] <= told_s and (one["nic"], one["ap"]) == (change["nic"], change["ap"])
        for one in later
    )
    return at_s if comes_back else told_s


def _is_on(changes: list[dict[str, Any]], at_s: float) -> bool:
    """Say whether the station has any access point."""
    on = {(one["nic"], one["ap"]): one["is_on"] for one in changes if one["at_s"] <= at_s}
    return any(on.values())


def _path_events(change: dict[str, Any], drain_s: float, told_s: float) -> list[dict[str, Any]]:
    """Return what an association does to its path: one that is given up is a backup before."""
    at_s, path = change["at_s"], {"path": f"{change['nic']}-{change['ap']}"}
    if change["is_on"]:
        return [{"at_s": at_s, "change": "address_back", **path, "flags": ["subflow"]}]
    gone = {"at_s": told_s, "change": "address_gone", **path}
    if change["why"] not in GIVEN_UP or not drain_s:
        return [gone]
    before_s = max(at_s - drain_s, 0.0)
    return [{"at_s": before_s, "change": "endpoint_backup", **path, "is_backup": True}, gone]


def open_shares(radio: Radio) -> dict[str, float]:
    """Return for which share of the time each path is open at the start, by slots and scans."""
    slots, numbers = radio["slots"], radio["policy_numbers"]
    scanning = {nic for _, _, nic in radio["scans"]}
    scanned = numbers["scan_channel_s"] / numbers["scan_period_s"] if scanning else 0.0
    found = {}
    for one in radio["links"]:
        share = 1 - scanned if one["nic"] in scanning else 1.0
        cycle = slots["epochs"][0]["cycle"] if slots else []
        if len(cycle) > 1:
            share *= (1 - slots["switch_s"] / slots["slot_s"]) / len(cycle)
        found[one["path"]] = share
    return found


def link_events(radio: Radio) -> list[dict[str, Any]]:
    """Return the changes of the links over which the radio model has a say: level `gate`."""
    found: list[dict[str, Any]] = []
    for one in radio["links"] if radio["level"] == GATE else ():
        rate_bps: float = next((sample[2] for sample in one["samples"] if sample[2]), 0.0)
        loss, is_up = 0.0, True
        for at_s, _, next_bps, next_loss in one["samples"]:
            if (next_bps > 0) != is_up:
                is_up = next_bps > 0
                change = "link_up" if is_up else "link_down"
                found.append({"at_s": at_s, "change": change, "link": one["link"]})
            if not is_up or (next_bps, next_loss) == (rate_bps, loss):
                continue
            rate_bps, loss = next_bps, next_loss
            found += [
                {"at_s": at_s, "change": "link", "link": one["link"], "direction": direction,
                 "rate_bps": rate_bps, "loss_fraction": loss}
                for direction in DIRECTIONS
            ]  # fmt: skip
    return found
