# SPDX-License-Identifier: Apache-2.0
"""What is promised of a station among access points: exact slots, known holes, a fast walk."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.promises import met, runs_of

UDP_FRACTION, MPTCP_FRACTION, HOLE_S, WALK_WALL_S = 0.03, 0.10, 0.3, 10.0
LIGHT = "workload={name: udp, rate: 200 kbit/s}"


def slots(folder: Path) -> None:
    """Print goodput and round trips of one NIC on two channels, against the oracle."""
    for name, workload, most in (
        ("UDP", "workload={name: udp}", UDP_FRACTION),
        ("MPTCP", "workload={name: bulk}", MPTCP_FRACTION),
    ):
        for run in runs_of("wifi", folder, "--scene", "slots", "--set", workload):
            off = run["goodput_mbps"] / run["oracle_mbps"] - 1
            print(
                f"  {name}, {_cell(run)}: {run['goodput_mbps']:.2f} Mbit/s, "
                f"oracle {run['oracle_mbps']:.2f} ({off:+.1%}): {met(abs(off) <= most)}; "
                f"lost by switching {run['switch_losses']}: {met(run['switch_losses'] == 0)}"
            )
    for run in runs_of("wifi", folder, "--scene", "slots", "--set", LIGHT):
        longest, bound = run["rtt_added_ms_max"], run["rtt_bound_ms_max"]
        print(
            f"  idle, {_cell(run)}: a round trip takes {run['rtt_added_ms_mean']:.1f} ms more on "
            f"average and {longest:.1f} at most, slots alone {bound:.1f}: {met(longest <= bound)}"
        )


def _cell(run: dict[str, Any]) -> str:
    return f"slot {run['slot_s'] * 1e3:g} ms, switch {run['switch_s'] * 1e3:g} ms"


def walk(folder: Path) -> None:
    """Print the gaps of a walk, and how long it takes."""
    for run in runs_of("wifi", folder, "--policy", "two-nic,single-ap"):
        gap_s, wall_s = run["gap_max_s"], run["wall_s"]
        if run["mode"] == "two-nic":
            limit_s = run["rto_at_gap_s"]
            said = f"one RTO is {limit_s:.2f} s: {met(gap_s <= limit_s)}"
        else:
            off_s = gap_s - run["expected_gap_s"]
            said = f"asked was {run['expected_gap_s']:.2f} s: {met(abs(off_s) <= HOLE_S)}"
        print(
            f"  walk, {run['mode']}: longest gap {gap_s:.2f} s, {said}; {wall_s:.1f} s for 120 s: "
            f"{met(wall_s <= WALK_WALL_S)}"
        )


def static(folder: Path) -> None:
    """Print what two NICs get at each place, against TCP over either access point."""
    runs = runs_of("wifi", folder, "--scene", "static", "--policy", "tcp-ap1,tcp-ap2,two-nic")
    places = sorted({run["at_m"] for run in runs})
    for at_m in places:
        got = {run["mode"]: run["goodput_mbps"] for run in runs if run["at_m"] == at_m}
        first, second, both = (got[mode] for mode in ("tcp-ap1", "tcp-ap2", "two-nic"))
        is_met = 0.9 * max(first, second) <= both <= 1.05 * (first + second)
        print(f"  {at_m:.0f} m: TCP {first:.2f} and {second:.2f}, MPTCP {both:.2f}: {met(is_met)}")


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as name:
        for part in (slots, walk, static):
            part(Path(name))


if __name__ == "__main__":
    main()
