# SPDX-License-Identifier: Apache-2.0
"""The timed changes of a run as plain data, from the experiment, its ride and its mode."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from testbed.errors import PlanError
from testbed.plan.links import DIRECTIONS, queue_bytes
from testbed.plan.ride import Ride
from testbed.plan.spans import complement
from testbed.spec import events as spec_events
from testbed.topology import near_miss

Change = dict[str, Any]
SIDES = {"up": ["a_to_b"], "down": ["b_to_a"], "both": list(DIRECTIONS)}


def spec_changes(events: list[Any], topology: dict[str, Any]) -> Iterator[Change]:
    """Yield the changes that an experiment file asks for.

    Raises:
        PlanError: one names a link or a path that is not there.
    """
    links = {link["name"]: link for link in topology["links"]}
    paths = {path["name"] for path in topology["paths"]}
    for number, event in enumerate(events):
        place = f"events.{number}"
        if hasattr(event, "link"):
            _check_name(f"{place}.link", event.link, links, "link")
            yield from _link_changes(event, links[event.link], place)
        else:
            _check_name(f"{place}.path", event.path, paths, "path")
            yield from _path_changes(event)


def _check_name(place: str, name: str, known: Any, kind: str) -> None:
    if name not in known:
        what = f'{place}: "{name}" is not a {kind} of this network'
        raise PlanError(f"{what}{near_miss(name, known)}")


def _link_changes(event: Any, link: dict[str, Any], place: str) -> Iterator[Change]:
    at = {"at_s": event.at, "link": event.link}
    if isinstance(event, spec_events.LinkDown | spec_events.LinkUp):
        yield {**at, "change": event.change}
        return
    for direction in SIDES[event.direction]:
        change: Change = {**at, "change": "link", "direction": direction}
        if isinstance(event, spec_events.RateChange):
            if link[direction]["trace"] is not None:
                raise PlanError(f"{place}: the link {event.link} follows a trace, not a rate")
            change["rate_bps"] = event.rate
        elif isinstance(event, spec_events.DelayChange):
            change["one_way_delay_s"] = event.one_way_delay
        elif isinstance(event, spec_events.LossChange):
            change["loss_fraction"] = event.loss
        elif isinstance(event, spec_events.QueueChange):
            rate = link[direction]["rate_bps"]
            change["queue_bytes"] = queue_bytes(event.queue, rate, place)
        yield change


def _path_changes(event: Any) -> Iterator[Change]:
    change: Change = {"at_s": event.at, "change": event.change, "path": event.path}
    if isinstance(event, spec_events.EndpointAdd):
        change["flags"] = list(event.flags)
    elif isinstance(event, spec_events.EndpointBackup):
        change["is_backup"] = event.backup
    yield change


def coverage_changes(ride: Ride, link: str, duration_s: float) -> Iterator[Change]:
    """Yield what the ride does to the link that is covered in the stations only."""
    for start, end in complement(ride.stations, duration_s):
        yield {"at_s": start, "change": "link_down", "link": link}
        if end < duration_s:
            yield {"at_s": end, "change": "link_up", "link": link}


def fade_changes(ride: Ride, link: dict[str, Any], asked: list[Change]) -> list[Change]:
    """Return the changes that were asked for, with the uplink of a link still during the fades.

    Args:
        ride: the ride.
        link: as in the topology. An uplink without a rate follows a trace, or has nothing that
            could be still.
        asked: what the experiment file asks for; a rate that falls into a fade comes after it.
    """
    rate_bps = link["a_to_b"]["rate_bps"]
    if rate_bps is None:
        return asked
    at = {"change": "link", "link": link["name"], "direction": "a_to_b"}
    rates = [one for one in asked if "rate_bps" in one and at.items() <= one.items()]
    found = [one for one in asked if one not in rates]
    for start, end in ride.fades:
        before = [one["rate_bps"] for one in rates if one["at_s"] <= end]
        found.append({**at, "at_s": start, "rate_bps": 0})
        found.append({**at, "at_s": end, "rate_bps": before[-1] if before else rate_bps})
    return found + [
        one for one in rates if not any(start <= one["at_s"] <= end for start, end in ride.fades)
    ]


def check_presence(changes: list[Change], at_start: list[str]) -> None:
    """Refuse an address that comes while it is there, or goes while it is not.

    Args:
        changes: of the run, in the order of time.
        at_start: paths on which the client has an address at the start.

    Raises:
        PlanError: there is one.
    """
    present = set(at_start)
    for change in changes:
        what = change["change"]
        if what not in ("address_gone", "address_back"):
            continue
        path = change["path"]
        if (what == "address_back") == (path in present):
            has = "has an" if path in present else "has no"
            raise PlanError(
                f"events: {what} of {path} at {change['at_s']:g} s, but the client {has} address "
                "on it then; take it out, or mind what mode and ride do to the path"
            )
        present ^= {path}


def give_addresses(changes: list[Change], topology: dict[str, Any]) -> None:
    """Give the client a fresh address each time it joins a network again; names them in `paths`.

    A laptop that comes to another station is in another network: a TCP connection that kept its
    address there would survive where no real one does.
    """
    for path in topology["paths"]:
        joins = [c for c in changes if c["change"] == "address_back" and c["path"] == path["name"]]
        fresh = _addresses(path, topology)
        for number, change in enumerate(joins):
            change["address"] = fresh[number % len(fresh)]
        path["addresses"] = list(
            dict.fromkeys([path["address"], *(change["address"] for change in joins)])
        )


def _addresses(path: dict[str, Any], topology: dict[str, Any]) -> list[str]:
    """Return the free addresses of a path's network, those after its own first."""
    link = next(
        link
        for link in topology["links"]
        if path["address"] in (link["a_address"], link["b_address"])
    )
    network = ipaddress.ip_network(f"{path['address']}/{link['prefix_length']}", strict=False)
    taken = {link["a_address"], link["b_address"]}
    return [str(host) for host in network.hosts() if str(host) not in taken]
