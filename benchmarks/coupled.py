# SPDX-License-Identifier: Apache-2.0
"""Are LIA, OLIA and BALIA as fair, and as quick to leave a bad path, as their papers say?

python -m benchmarks.coupled [--seeds N] [--queues]

Calls `testbed fairness`; docs/fairness.md says what its numbers are.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TESTBED = Path(sys.executable).with_name("testbed")
COUPLED = ("lia", "olia", "balia")
ALL = ("reno", *COUPLED)
SEEDS = 5
RTTS_MS, BDPS = (10, 20, 30, 40, 60, 80), (0.5, 1, 2)
BOTTLENECK_MBPS = 20

Runs = list[dict[str, Any]]


def measure(seeds: int, controls: Iterable[str], *arguments: str) -> dict[str, Runs]:
    """Return the valid runs of `testbed fairness`, by congestion control."""
    argv = [TESTBED, "fairness", "--json", "--seeds", str(seeds), "--cc", ",".join(controls)]
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [*argv, "--out", out, *arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            check=True,  # also of what makes a run invalid
        )
    found: dict[str, Runs] = {}
    for run in json.loads(done.stdout)["runs"]:
        found.setdefault(run["cc"], []).append(run)
    return found


def spread(runs: Runs, name: str, scale: float = 1) -> str:
    """Return the mean, the smallest and the largest of a number."""
    found = [scale * run[name] for run in runs]
    return f"{statistics.mean(found):6.2f} ({min(found):.2f} to {max(found):.2f})"


def shares(seeds: int, title: str, controls: Iterable[str], *arguments: str) -> None:
    """Print MPTCP's share of one bottleneck."""
    print(f"\n{title}: share of the MPTCP connection in %")
    for name, runs in measure(seeds, controls, "--scene", "bottleneck", *arguments).items():
        print(f"  {name:6} {spread(runs, 'mptcp_share', 100)}", flush=True)


def losses_and_delays(seeds: int) -> None:
    """Print what two lossy paths give together, against the better one."""
    print("\n4 % of loss at 10 ms, 1 % at 100 ms: Mbit/s")
    found = measure(seeds, ALL, "--scene", "loss-rtt")
    for name, path in (("10 ms", "first"), ("100 ms", "second")):
        together = [run for runs in found.values() for run in runs]
        print(f"  TCP Reno at {name}: {spread(together, f'tcp_{path}_mbps')}")
    for name, runs in found.items():
        part = statistics.mean(run["of_best_path"] for run in runs)
        print(f"  {name:6} {spread(runs, 'mptcp_mbps')}, {part:.0%} of the better path", flush=True)


def congested_path(seeds: int, private_mbps: int) -> None:
    """Print how much is sent over a path that TCP users need more."""
    print(
        f"\n5 MPTCP users with {private_mbps} Mbit/s of their own, "
        "5 Mbit/s shared with 5 TCP users: Mbit/s on the shared path"
    )
    link = f"links.first.up={{rate: {private_mbps} Mbit/s, queue: 80 ms}}"
    for name, runs in measure(seeds, ALL, "--scene", "two-bottlenecks", "--set", link).items():
        print(
            f"  {name:6} MPTCP {spread(runs, 'congested_path_mbps')}"
            f"  TCP {spread(runs, 'tcp_second_mbps')}",
            flush=True,
        )


def bottleneck(rtt_ms: float, bdp: float) -> list[str]:
    """Return the arguments for another round trip and queue of the bottleneck."""
    queue = f"queue: {rtt_ms * bdp:g} ms, rate: {BOTTLENECK_MBPS} Mbit/s"
    return ["--set", f"links.shared={{one_way_delay: {rtt_ms / 2:g} ms, up: {{{queue}}}}}"]


def even_losses(loss: float) -> list[str]:
    """Return the arguments for random loss instead of a queue: all packets are equal."""
    way = f"{{rate: 200 Mbit/s, queue: 5 MB, loss: {loss}}}"
    return ["--set", f"links.shared.up={way}", "--measured", "240s", "--set", "duration=300 s"]


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--queues", action="store_true", help="sweep round trip and queue")
    options = parser.parse_args(sys.argv[1:] if sys.argv[0].endswith("coupled.py") else [])
    seeds = options.seeds
    shares(seeds, f"{BOTTLENECK_MBPS} Mbit/s, RTT 40 ms, queue of 1 BDP", ALL)
    shares(seeds, "random loss of 0.1 %, RTT 40 ms", ALL, *even_losses(0.001))
    losses_and_delays(seeds)
    congested_path(seeds, 10)
    congested_path(seeds, 5)
    if options.queues:
        for rtt_ms in RTTS_MS:
            for bdp in BDPS:
                title = f"{BOTTLENECK_MBPS} Mbit/s, RTT {rtt_ms} ms, queue of {bdp} BDP"
                shares(seeds, title, COUPLED, *bottleneck(rtt_ms, bdp))


if __name__ == "__main__":
    main()
