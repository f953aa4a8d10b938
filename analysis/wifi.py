# SPDX-License-Identifier: Apache-2.0
"""What a station among access points got, what it could have got, and what switching cost it.

The oracle is the mean over the run of what the links carry on which the station is: by the plan's
rates, the share of the time that slots and scans leave, and the share of payload in a packet.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.metrics import bin_edges, binned, longest_gap
from analysis.radio import has_radios
from analysis.reasons import Reason, invalid
from analysis.tables import Frames

Floats = npt.NDArray[np.float64]
Radio = dict[str, Any]
PACKET_BYTES = 1500
# IPv4, TCP and time stamps; with MPTCP the data sequence signal of 20 bytes too; IPv4 and UDP.
HEADER_BYTES = {"tcp": 52, "mptcp": 72, "udp": 28}
LOST = ("dropped_full", "dropped_loss", "dropped_down")
# What arrives has been served while the link was open; counters and captures are that exact.
EXACT_S = 1e-4
RTO_WINDOW_S = 1.0


def is_wifi_run(frames: Frames) -> bool:
    """Say whether the run is of a station among access points."""
    return bool(frames.run.get("radio"))


def spans(radio: Radio, duration_s: float) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Yield from when to when the station has what from which link, in bit/s."""
    times = {0.0, duration_s}
    times |= {change["at_s"] for change in radio["associations"]}
    times |= {sample[0] for link in radio["links"] for sample in link["samples"]}
    for first_s, last_s in pairwise(sorted(at for at in times if 0 <= at <= duration_s)):
        yield first_s, last_s, _rates_at(radio, first_s)


def _rates_at(radio: Radio, at_s: float) -> dict[str, float]:
    on: dict[str, bool] = {}
    for change in radio["associations"]:
        if change["at_s"] <= at_s:
            on[f"{change['nic']}-{change['ap']}"] = change["is_on"]
    found = {}
    for link in radio["links"]:
        rate = next((s[2] for s in reversed(link["samples"]) if s[0] <= at_s), 0.0)
        if on.get(link["link"]) and rate > 0:
            share = _open_share(radio, link, at_s)
            found[str(link["link"])] = float(rate) * share
    return found


def _open_share(radio: Radio, link: dict[str, Any], at_s: float) -> float:
    share, numbers = 1.0, radio["policy_numbers"]
    if any(nic == link["nic"] for _, _, nic in radio["scans"]):
        share -= numbers["scan_channel_s"] / numbers["scan_period_s"]
    cycle = _cycle_at(radio, at_s)
    if len(cycle) > 1:
        slots = radio["slots"]
        share *= (1 - slots["switch_s"] / slots["slot_s"]) / len(cycle)
    for group in cycle:
        if link["link"] in group:
            share /= len(group)
    return share


def _cycle_at(radio: Radio, at_s: float) -> list[list[str]]:
    epochs = (radio["slots"] or {}).get("epochs", [])
    begun = [epoch["cycle"] for epoch in epochs if epoch["at_s"] <= at_s]
    return begun[-1] if begun else []


def oracle_mbps(run: dict[str, Any]) -> float:
    """Return the payload that the links could have carried, on average over the run."""
    radio, duration_s = run["radio"], float(run["duration_s"])
    bits = sum((last - first) * sum(rates.values())
               for first, last, rates in spans(radio, duration_s))  # fmt: skip
    payload = 1 - HEADER_BYTES[run["transport"]] / PACKET_BYTES
    return float(bits * payload / duration_s / 1e6)


def expected_gap_s(run: dict[str, Any]) -> float:
    """Return the longest time without any access point that ended in the run, by the plan."""
    longest, since = 0.0, None
    for first_s, _, rates in spans(run["radio"], float(run["duration_s"])):
        if not rates and since is None:
            since = first_s
        elif rates and since is not None:
            longest, since = max(longest, first_s - since), None
    return longest


def rtt_bounds_ms(radio: Radio) -> tuple[float, float] | None:
    """Return the mean and the longest time that slots make a packet wait, for the longest cycle."""
    slots = radio["slots"]
    n = max((len(epoch["cycle"]) for epoch in slots["epochs"]), default=0) if slots else 0
    if n < 2:
        return None
    away_s = (n - 1) * slots["slot_s"] + n * slots["switch_s"]
    away_mean_s = ((n - 1) * slots["slot_s"]) ** 2 / (2 * n * slots["slot_s"])
    return away_mean_s * 1e3, away_s * 1e3


def added_rtts(frames: Frames) -> pd.DataFrame:
    """Return t_s, path and how much longer than on an idle path each echo took, in ms."""
    probes = frames.wifi.get("probes")
    if probes is None or not len(probes):
        return pd.DataFrame({"t_s": [], "path": [], "rtt_added_ms": []})
    names = [path["name"] for path in frames.run["topology"]["paths"]]
    # All propagation delay is in the wire; real radios let only the paths of the start be measured.
    measured = {name: min(one["measured_us"]) for name, one in frames.base_rtt.items()}
    base = np.array([measured.get(name, min(measured.values())) for name in names])
    start_ns = int(frames.manifest["started_unix_ns"])
    return pd.DataFrame({
        "t_s": (probes["sent_ns"].astype(np.int64) - start_ns) / 1e9,
        "path": np.array(names)[probes["path"]],
        "rtt_added_ms": probes["took_ns"] / 1e6 - base[probes["path"]] / 1e3,
    })  # fmt: skip


def _udp(frames: Frames) -> tuple[Floats, Floats] | None:
    """Return when UDP packets came in the run, ascending, and their payload."""
    packets = frames.wifi.get("packets")
    if packets is None:
        return None
    start_ns = int(frames.manifest["started_unix_ns"])
    t_s = np.sort((packets["sent_ns"] + packets["took_ns"] - start_ns) / 1e9)
    t_s = t_s[t_s <= float(frames.run["duration_s"])]
    size = frames.run["workload"]["flows"][0]["packet_bytes"] - HEADER_BYTES["udp"]
    return t_s, np.full(t_s.size, float(size))


def switch_losses(frames: Frames) -> int | None:
    """Return how many packets vanished that no queue, no radio and no outage has lost.

    Of UDP and echo requests all are known that were sent. Of TCP, what left a link downwards and
    what was given to it upwards is what the capture at the station must have.
    """
    drained, started = frames.wifi.get("drained") or {}, frames.wifi.get("start") or {}
    if has_radios(frames.run) and drained:
        return _sent_into_the_void(frames, drained)
    names = [link["link"] for link in frames.run["radio"]["links"]]
    if not drained:
        return None
    moved = {
        (name, way): {
            key: value - started.get(name, {}).get(way, {}).get(key, 0)
            for key, value in drained[name][way].items()
        }
        for name in names
        for way in ("a_to_b", "b_to_a")
    }
    lost = {key: sum(count[kind] for kind in LOST) for key, count in moved.items()}
    if "packets" in frames.wifi:
        flows = frames.manifest["workload"]["flows"]
        sent = sum(flow["sent"] for flow in flows) + sum(frames.wifi.get("asked", {}).values())
        came = sum(flow["received"] for flow in flows) + len(frames.wifi.get("probes", ()))
        return int(sent - came - sum(lost.values()))
    passed = sum(count["packets"] for count in moved.values())
    given = passed + sum(lost[name, "a_to_b"] for name in names)
    return int(given - frames.captures["captured"].sum())


def _sent_into_the_void(frames: Frames, drained: dict[str, Any]) -> int:
    """Return how many frames went to a NIC that was on another channel, by the radios' counts.

    A station's farewell wakes it in the eyes of the access point, which may send the one frame
    that waits before it forgets the station: no switch did that. Nor does one lose what an access
    point sends after its outage to a station that has given it up meanwhile.
    """
    radio = frames.run["radio"]
    if not radio["slots"]:
        return 0
    farewells = sum(one["what"] == "told to leave" for one in frames.radio.log)
    ways = [way for link in radio["links"] for way in drained[link["link"]].values()]
    missed: int = sum(int(way["missed"]) for way in ways)
    return max(0, missed - int(farewells) - _sent_after_outages(frames, drained))


def _sent_after_outages(frames: Frames, drained: dict[str, Any]) -> int:
    """Return how many frames went to a NIC whose access point had not heard of the parting."""
    links = {(one["nic"], one["ap"]): one["link"] for one in frames.run["radio"]["links"]}
    since: dict[tuple[str, str], int] = {}
    sent = 0
    for one in frames.radio.log:
        key = (one["nic"], str(one.get("ap")))
        if one["what"] == "gives up unheard":
            since[key] = one["missed"]
        elif one["what"] == "is known again" and key in since:
            sent += one["missed"] - since.pop(key)
    for key, missed in since.items():
        sent += max(int(way["missed"]) for way in drained[links[key]].values()) - missed
    return sent


def rto_s(frames: Frames, at_s: float) -> float | None:
    """Return the longest retransmission timeout of a subflow that was in use before a time."""
    rows = frames.sockets[(frames.sockets["subflow"] >= 0) & frames.sockets["is_subflow"]]
    is_near = (rows["t_s"] > at_s - RTO_WINDOW_S) & (rows["t_s"] <= at_s)
    timeouts = rows[is_near & (rows["backoff"].fillna(0) == 0) & (rows["host"] == "server")]
    return float(timeouts["rto_ms"].max()) / 1e3 if len(timeouts) else None


def summary(frames: Frames) -> dict[str, Any]:
    """Return the run in a few numbers; {} for a run without access points."""
    if not is_wifi_run(frames):
        return {}
    run, radio = frames.run, frames.run["radio"]
    udp = _udp(frames)
    duration_s = float(run["duration_s"])
    # What waits at the end is let through, so that it can be counted, but it came too late.
    delivered = frames.delivered[frames.delivered["t_s"] <= duration_s]
    times = udp[0] if udp else delivered["t_s"].to_numpy()
    gap = longest_gap(times, 0.0, float("inf"))
    added = added_rtts(frames)["rtt_added_ms"]
    bounds = rtt_bounds_ms(radio)
    found = {
        "scene": radio["scene"],
        "policy": radio["policy"],
        "level": radio["level"],
        "aps": len(radio["aps"]),
        "oracle_mbps": oracle_mbps(run),
        "gap_max_s": gap.length_s,
        "gap_start_s": gap.start_s,
        "rto_at_gap_s": rto_s(frames, gap.start_s),
        "expected_gap_s": expected_gap_s(run),
        "rtt_added_ms_mean": float(added.mean()) if len(added) else None,
        "rtt_added_ms_max": float(added.max()) if len(added) else None,
        "rtt_bound_ms_mean": bounds[0] if bounds else None,
        "rtt_bound_ms_max": bounds[1] if bounds else None,
        "switch_losses": switch_losses(frames),
        "slot_s": radio["slots"]["slot_s"] if radio["slots"] else None,
        "switch_s": radio["slots"]["switch_s"] if radio["slots"] else None,
        "at_m": radio["walk"][0][1] if len(radio["walk"]) == 1 else None,
        "handover_gap_max_s": gap.length_s,
    }
    size = float(udp[1].sum()) if udp else float(delivered["bytes"].sum())
    return {**found, "goodput_mbps": size * 8 / duration_s / 1e6}


def goodput_table(frames: Frames, end_s: float) -> pd.DataFrame | None:
    """Return the goodput of UDP over time, as metrics.goodput does of TCP; None for TCP."""
    udp = _udp(frames)
    if udp is None:
        return None
    edges = bin_edges(end_s)
    sizes = binned(udp[0], udp[1], edges)
    return pd.DataFrame({
        "run_id": frames.run_id, "t_s": edges[:-1], "host": "station", "path": "", "subflow": -1,
        "bytes": sizes.astype(np.int64), "goodput_mbps": sizes * 8 / np.diff(edges) / 1e6,
    })  # fmt: skip


def tables(frames: Frames, end_s: float) -> dict[str, pd.DataFrame]:
    """Return the tables that only such a run has."""
    if not is_wifi_run(frames):
        return {}
    radio = frames.run["radio"]
    found = {
        "echoes": added_rtts(frames),
        "associations": pd.DataFrame(
            radio["associations"], columns=["at_s", "nic", "ap", "is_on", "why"]
        ),
        "signals": pd.DataFrame(
            [(link["nic"], link["ap"], *sample) for link in radio["links"]
             for sample in link["samples"]],
            columns=["nic", "ap", "t_s", "signal_dbm", "rate_bps", "loss_fraction"],
        ),
    }  # fmt: skip
    udp = goodput_table(frames, end_s)
    return found if udp is None else {**found, "goodput": udp}


def check_wifi(frames: Frames) -> list[Reason]:
    """The NIC was on one channel at a time, switched as asked, and lost nothing by it."""
    if not is_wifi_run(frames):
        return []
    found = _check_gate(frames) + _check_closed(frames)
    losses = switch_losses(frames)
    if losses is None:
        found.append(invalid("wifi", "the counters of the links are absent"))
    elif losses:
        message = f"{losses} packets vanished that no queue, radio or outage has lost"
        found.append(invalid("wifi", message, switch_losses=losses))
    if "packets" in frames.wifi and not len(frames.wifi["packets"]):
        found.append(invalid("wifi", "no UDP packet came"))
    return found


def _check_gate(frames: Frames) -> list[Reason]:
    """No two channels are open at once, and a switch takes its time."""
    radio, log = frames.run["radio"], frames.wifi.get("gate", [])
    if not radio["slots"]:
        return []
    switch_s, slot_s = radio["slots"]["switch_s"], radio["slots"]["slot_s"]
    before: tuple[float, list[str]] | None = None
    for number, (at_s, links) in enumerate(log[1:], 1):
        if not links:
            if (
                number + 1 == len(log)
                and at_s + 2 * slot_s < float(frames.run["duration_s"])
                and (_cycle_at(radio, at_s + slot_s))
            ):
                return [invalid("wifi", f"the NIC did not come back after {at_s:.3f} s")]
            continue
        groups = [{*group} for group in _cycle_at(radio, at_s + EXACT_S)]
        if not any({*links} <= group for group in groups):
            message = f"links of several channels were open at {at_s:.3f} s: {', '.join(links)}"
            return [invalid("wifi", message, links=links)]
        closed_s = log[number - 1]
        took_s = at_s - closed_s[0]
        is_other = before is not None and {*before[1]}.isdisjoint(links)
        if is_other and (closed_s[1] or took_s < switch_s - EXACT_S):
            message = f"the NIC was on another channel {took_s * 1e3:.2f} ms after {at_s:.3f} s"
            return [invalid("wifi", f"{message}, a switch takes {switch_s * 1e3:g} ms")]
        before = (at_s, links)
    return []


def _check_closed(frames: Frames) -> list[Reason]:
    """Nothing arrived over a link while it was closed."""
    log = frames.wifi.get("gate", [])
    times = np.array([at_s for at_s, _ in log])
    if not times.size:
        return []
    gated, end_s = log[0][1], float(frames.run["duration_s"])
    for link in frames.run["radio"]["links"]:
        part = frames.received(link["path"])
        if part is None or link["link"] not in gated:
            continue
        t_s = part.t_s[part.t_s < end_s]
        is_open = np.array([link["link"] in links for _, links in log])
        place = np.maximum(np.searchsorted(times, t_s, side="right") - 1, 0)
        since_s = t_s - times[place]
        wrong = int((~is_open[place] & (since_s > EXACT_S)).sum())
        if wrong:
            message = f"{wrong} packets arrived over {link['link']} while the NIC was elsewhere"
            return [invalid("wifi", message, packets=wrong)]
    return []
