# SPDX-License-Identifier: Apache-2.0
"""Checks of the emulated links: did they do what was asked of them, no more and no less?"""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis import metrics, real_time, ride
from analysis.reasons import Reason, invalid
from analysis.tables import Frames

# Where a link's rate is checked, and what is allowed above it: the packets at either edge.
WINDOW_S, SLACK_BYTES = 1.0, 2 * ride.OPPORTUNITY_BYTES
# The clocks of capture and emulation are one; this is for the microseconds of tcp_info.
RTT_TOLERANCE_FRACTION, RTT_TOLERANCE_MS = 0.005, 0.01
# Of the base RTT in virtual time, where nothing but the links takes time.
BASE_RTT_TOLERANCE_US = 20.0
# Of the rate of a link while it is busy; counters are read between two packets.
RATE_TOLERANCE_FRACTION = 0.002
# A trace is kept over this time; a link is saturated if it was busy for so much of it.
TRACE_WINDOW_S, TRACE_TOLERANCE_FRACTION, SATURATED_FRACTION = 10.0, 0.01, 0.9999
# How late a timed change may be in virtual time, where nothing can delay it.
LATE_S = 1e-3


def check_delivered(frames: Frames) -> list[Reason]:
    """No link delivered more than its rate or its trace allows over the run."""
    seconds = float(frames.manifest.get("virtual_s") or frames.run.get("duration_s") or 0)
    _, last_s = frames.packet_span_s() or (0.0, 0.0)
    # The counters were read a little later than the run ended.
    seconds = max(seconds, last_s, float(frames.manifest.get("counted_s") or 0))
    found = []
    for link in frames.run["topology"]["links"]:
        for direction in ("a_to_b", "b_to_a"):
            is_this = frames.links["link"] == link["name"]
            is_this &= frames.links["direction"] == direction
            delivered = int(frames.links.loc[is_this, "delivered_bytes"].sum())
            changes = ride.link_changes(frames.run, link["name"], direction)
            span = np.array([0.0, seconds])
            allowed = float(ride.capacity_bytes(link[direction], span, changes)[0])
            rate_bps = link[direction].get("rate_bps")
            slack = SLACK_BYTES + real_time.slack_bytes(frames, rate_bps, allowed)
            if delivered > allowed + slack:
                message = f"link {link['name']} {direction} delivered {delivered} bytes in "
                message += f"{seconds:.1f} s, its capacity is {allowed:.0f}"
                evidence = {"link": link["name"], "direction": direction}
                found.append(invalid("delivered", message, **evidence, delivered=delivered,
                                      allowed=allowed))  # fmt: skip
    return found


def check_rate(frames: Frames) -> list[Reason]:
    """In no second did more arrive at an interface than its link can carry.

    What arrives in a window left the link's server one propagation delay earlier.
    """
    found = []
    for link in ride.access_links(frames.run):
        mine = frames.received(link.path)
        changes = ride.link_changes(frames.run, link.name, link.rx_direction)
        # A delay that changes moves packets from one second to another.
        if mine is None or any("one_way_delay_s" in change for change in changes):
            continue
        served_s = mine.t_s - float(link.rx.get("one_way_delay_s") or 0.0)
        edges = metrics.bin_edges(max(float(served_s.max()), 0.0) + WINDOW_S, WINDOW_S)
        arrived = metrics.binned(served_s, mine.ip_bytes, edges)
        allowed = ride.capacity_bytes(link.rx, edges, changes)
        rate_bps = link.rx.get("rate_bps")
        slack = np.array([real_time.slack_bytes(frames, rate_bps, one) for one in allowed])
        excess = arrived - allowed - SLACK_BYTES - slack
        worst = int(np.argmax(excess))
        if excess[worst] > 0:
            message = f"path {link.path} received {arrived[worst]:.0f} bytes in the second from "
            message += f"{edges[worst]:.0f} s, its link can carry {allowed[worst]:.0f}"
            evidence = {"received": int(arrived[worst]), "allowed": float(allowed[worst])}
            found.append(invalid("rate", message, path=link.path, **evidence,
                                  seconds=int((excess > 0).sum())))  # fmt: skip
    return found


def check_segments(frames: Frames) -> list[Reason]:
    """No packet was longer than its link takes.

    Offloads make packets of 64 KB: queues would hold bursts, and one loss would be forty.
    """
    found = []
    sizes = {link["name"]: link.get("mtu_bytes") for link in frames.run["topology"]["links"]}
    for link in ride.access_links(frames.run):
        limit = sizes[link.name] or ride.OPPORTUNITY_BYTES
        longest = max((t.ip_bytes.max() for t in frames.traffic if t.path == link.path), default=0)
        if longest > limit:
            message = f"path {link.path} carried packets of up to {longest} bytes, its link takes "
            message += f"{limit}: segmentation or receive offload is on"
            evidence = {"longest": int(longest), "limit": limit}
            found.append(invalid("segments", message, path=link.path, **evidence))
    return found


def check_rtt(frames: Frames) -> list[Reason]:
    """No round trip was shorter than the propagation delay of the path's access link.

    Two measurements, the longer counts: SYN to SYN/ACK in the capture (which does not see a delay
    on the capturing interface itself), and the kernel's own minimum.
    """
    found = []
    for link in ride.access_links(frames.run):
        if _delay_changes(frames, link.name):
            continue
        flows = frames.subflows[frames.subflows["path"] == link.path]
        samples = frames.sockets[frames.sockets["path"] == link.path]
        minima = [flows["handshake_rtt_ms"].min(), samples["min_rtt_ms"].min()]
        measured_ms = max((float(value) for value in minima if not pd.isna(value)), default=np.inf)
        asked_ms = link.round_trip_s * 1e3
        if measured_ms < asked_ms * (1 - RTT_TOLERANCE_FRACTION) - RTT_TOLERANCE_MS:
            message = f"the shortest round trip on path {link.path} took {measured_ms:.3f} ms, "
            message += f"its link alone takes {asked_ms:.3f} ms"
            evidence = {"measured_ms": measured_ms, "asked_ms": asked_ms}
            found.append(invalid("rtt", message, path=link.path, **evidence))
    return found


def _delay_changes(frames: Frames, link: str) -> bool:
    """Say whether a link's delay changes during the run."""
    ways = ("a_to_b", "b_to_a")
    changes = [one for way in ways for one in ride.link_changes(frames.run, link, way)]
    return any("one_way_delay_s" in change for change in changes)


def check_base_rtt(frames: Frames) -> list[Reason]:
    """Before the workload, a packet took on every path the time that was asked."""
    found = []
    for path, rtt in frames.base_rtt.items():
        asked, measured = float(rtt["asked_us"]), min(rtt["measured_us"])
        if real_time.is_real_time(frames):
            found += real_time.judge_base_rtt(path, asked, measured)
            continue
        if abs(measured - asked) > BASE_RTT_TOLERANCE_US:
            message = f"the base RTT of path {path} was {measured / 1e3:.3f} ms before the "
            message += f"workload, asked was {asked / 1e3:.3f} ms"
            evidence = {"path": path, "asked_us": asked, "measured_us": measured}
            found.append(invalid("base_rtt", message, **evidence))
    return found


def check_busy_rate(frames: Frames) -> list[Reason]:
    """While it was busy, each link of constant rate carried that rate."""
    if real_time.is_real_time(frames):
        return _check_saturated(frames)
    found = []
    for (link, direction), rows in _samples(frames):
        way = ride.direction_of(frames.run, link, direction)
        changes = ride.link_changes(frames.run, link, direction)
        if (way.get("trace") or {}).get("opportunities_ms"):
            found += _check_trace(link, direction, way, rows)
            continue
        for rate_bps, part in _by_rate(way, changes, rows):
            busy_s, carried = part["busy_s"].sum(), int(part["delivered_bytes"].sum())
            asked = rate_bps // 8 * busy_s
            if abs(carried - asked) > RATE_TOLERANCE_FRACTION * asked + SLACK_BYTES * len(part):
                message = f"link {link} {direction} carried {carried} bytes while it was busy for "
                message += (
                    f"{busy_s:.3f} s, its rate of {rate_bps / 1e6:g} Mbit/s makes {asked:.0f}"
                )
                evidence = {"carried": carried, "asked": float(asked), "busy_s": float(busy_s)}
                found.append(
                    invalid("busy_rate", message, link=link, direction=direction, **evidence)
                )
    return found


def _check_saturated(frames: Frames) -> list[Reason]:
    """Return a reason for each direction that was off its rate while something waited in it."""
    found = []
    groups: Any = frames.link_samples.groupby(["link", "direction"], observed=True, sort=True)
    for (link, direction), rows in groups:
        way = ride.direction_of(frames.run, link, direction)
        changes = ride.link_changes(frames.run, link, direction)
        steps = rows.sort_values("t_s", kind="stable")
        names = ("t_s", "delivered_bytes", "backlog")
        times_s, delivered, backlog = (steps[name].tolist() for name in names)
        is_counted = frames.manifest.get("links") != real_time.NETEM
        busy_s = (steps["busy_ns"] / 1e9).tolist() if is_counted else None
        spans: list[tuple[float, float, float]] = []
        for start_s, end_s, carried in real_time.saturated(times_s, delivered, backlog, busy_s):
            asked = float(ride.capacity_bytes(way, np.array([start_s, end_s]), changes)[0])
            if np.isfinite(asked) and asked > 0:
                spans.append((end_s - start_s, carried, asked))
        if spans:
            slack = SLACK_BYTES + real_time.slack_bytes(frames, way.get("rate_bps"), 0.0)
            found += real_time.judge_rate(link, direction, spans, slack)
    return found


def _samples(frames: Frames) -> Any:
    """Yield each direction of each link with what it did between two samples."""
    table = frames.link_samples
    for key, rows in table.groupby(["link", "direction"], observed=True, sort=True):
        steps = rows.sort_values("t_s", kind="stable")
        moved = steps[["t_s", "busy_ns", "delivered_bytes", "opportunities"]].diff().iloc[1:]
        moved = moved.rename(columns={"t_s": "span_s"})
        moved["busy_s"] = moved.pop("busy_ns") / 1e9
        yield key, moved.assign(t_s=steps["t_s"].to_numpy()[:-1])


def _by_rate(
    way: dict[str, Any], changes: list[dict[str, Any]], rows: pd.DataFrame
) -> list[tuple[int, pd.DataFrame]]:
    """Return the spans between samples by the rate that held in them; samples are taken at changes.

    Spans in which the link was down, unlimited or still say nothing of a rate.
    """
    middles = (rows["t_s"] + rows["span_s"] / 2).to_numpy()
    rates = np.array([ride.rate_at(way, changes, at_s) for at_s in middles], dtype=float)
    known = [rate for rate in np.unique(rates[np.isfinite(rates)]) if rate > 0]
    return [(int(rate), rows[rates == rate]) for rate in known]


def _check_trace(
    link: str, direction: str, way: dict[str, Any], rows: pd.DataFrame
) -> list[Reason]:
    """Return a reason for each time in which a saturated link did not follow its trace."""
    found = []
    last_s = float(rows["t_s"].iloc[-1] + rows["span_s"].iloc[-1]) if len(rows) else 0.0
    for start_s, end_s in pairwise(np.arange(0.0, last_s + 1e-9, TRACE_WINDOW_S)):
        is_in = (rows["t_s"] >= start_s - 1e-6) & (rows["t_s"] + rows["span_s"] <= end_s + 1e-6)
        part = rows[is_in]
        span_s = part["span_s"].sum()
        is_whole = span_s > (end_s - start_s) * SATURATED_FRACTION
        if not is_whole or part["busy_s"].sum() < span_s * SATURATED_FRACTION:
            continue
        carried = int(part["delivered_bytes"].sum())
        offered = float(ride.capacity_bytes(way, np.array([start_s, end_s]))[0])
        if abs(carried - offered) > TRACE_TOLERANCE_FRACTION * offered + SLACK_BYTES:
            message = (
                f"link {link} {direction} was saturated from {start_s:.0f} s to {end_s:.0f} s "
            )
            message += f"and carried {carried} bytes, its trace offered {offered:.0f}"
            evidence = {"carried": carried, "offered": offered}
            found.append(invalid("trace", message, link=link, direction=direction, **evidence))
    return found


def check_lateness(frames: Frames) -> list[Reason]:
    """Every timed change was carried out at its time."""
    events: list[dict[str, Any]] = frames.manifest.get("events") or []
    done = [event for event in events if "done_s" in event]
    if not done:
        return []
    event = max(done, key=lambda one: float(one["done_s"] - one["at_s"]))
    worst_s = event["done_s"] - event["at_s"]
    if real_time.is_real_time(frames):
        return real_time.judge_change(event["change"], event["at_s"], worst_s)
    if worst_s <= LATE_S:
        return []
    message = (
        f"the change {event['change']} of {event['at_s']:.3f} s came {worst_s * 1e3:.1f} ms late"
    )
    return [invalid("lateness", message, late_s=worst_s, at_s=event["at_s"])]
