# SPDX-License-Identifier: Apache-2.0
"""Are LIA, OLIA and BALIA as fair, and as quick to leave a bad path, as their papers say?

python -m benchmarks.coupled [--seeds N] [--kernel FILE] [--queues]
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TESTBED = Path(sys.executable).with_name("testbed")
ROOT = Path(__file__).parents[1]
COUPLED = ("lia", "olia", "balia")
ALL = ("reno", *COUPLED)
SEEDS = 5

Found = list[dict[str, Any]]


class Lab:
    """Runs scenarios, each in a lab of its own.

    Args:
        kernel: a kernel file; None: the one of this checkout.
        seeds: how many runs of each.
    """

    def __init__(self, kernel: str | None, seeds: int) -> None:
        self._kernel = ["--kernel", kernel] if kernel else []
        self._seeds = range(1, seeds + 1)

    def runs(self, scenario: str, congestion_control: str) -> list[Found]:
        """Return the subflows of every run."""
        return [self._run(scenario, congestion_control, seed) for seed in self._seeds]

    def _run(self, scenario: str, congestion_control: str, seed: int) -> Found:
        argv = [str(TESTBED), "lab", "exec", *self._kernel, "--seed", str(seed), "--"]
        argv += [sys.executable, "-m", "benchmarks.coupled_run", scenario, congestion_control]
        done = subprocess.run(
            [*argv, str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        return list(json.loads(done.stdout))


def mbps(found: Found, host: str, source: str = "") -> float:
    """Return the rate of a host's subflows, or of those that start at one address."""
    return sum(
        float(one["mbps"]) for one in found if one["host"] == host and source in ("", one["source"])
    )


def share(found: Found) -> float:
    """Return which part of all traffic is the MPTCP host's, in percent."""
    multi, single = mbps(found, "multi"), mbps(found, "single")
    return 100 * multi / (multi + single)


def spread(values: Iterable[float]) -> str:
    """Return the mean, the smallest and the largest."""
    found = list(values)
    return f"{statistics.mean(found):6.2f} ({min(found):.2f} to {max(found):.2f})"


def shares(lab: Lab, title: str, scenario: str, names: Iterable[str]) -> None:
    """Print the MPTCP host's share of one bottleneck."""
    print(f"\n{title}: share of the MPTCP connection in %")
    for name in names:
        print(f"  {name:6} {spread(map(share, lab.runs(scenario, name)))}", flush=True)


def totals(lab: Lab, scenario: str, name: str) -> list[float]:
    """Return what all connections got together in each run."""
    runs = lab.runs(scenario, name)
    return [mbps(found, "multi") + mbps(found, "single") for found in runs]


def losses_and_delays(lab: Lab) -> None:
    """Print what two lossy paths give together, against the better one."""
    print("\n4 % of loss at 10 ms, 1 % at 100 ms: Mbit/s")
    single = {rtt: totals(lab, scenario, "reno") for rtt, scenario in ALONE.items()}
    for rtt, found in single.items():
        print(f"  TCP Reno at {rtt}: {spread(found)}")
    best = max(statistics.mean(found) for found in single.values())
    for name in ALL:
        found = totals(lab, "lossy", name)
        of_best = 100 * statistics.mean(found) / best
        print(f"  {name:6} {spread(found)}, {of_best:.0f} % of the better path", flush=True)


ALONE = {"10 ms": "alone-10-0.04", "100 ms": "alone-100-0.01"}
SECOND_PATH = "10.0.2.2"


def congested_path(lab: Lab, private_mbps: int) -> None:
    """Print how much is sent over a path that TCP users need more."""
    print(
        f"\n5 MPTCP users with {private_mbps} Mbit/s of their own, "
        "5 Mbit/s shared with 5 TCP users: Mbit/s on the shared path"
    )
    for name in ALL:
        runs = lab.runs(f"private-{private_mbps}", name)
        print(
            f"  {name:6} MPTCP {spread(mbps(found, 'multi', SECOND_PATH) for found in runs)}"
            f"  TCP {spread(mbps(found, 'single') for found in runs)}",
            flush=True,
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--queues", action="store_true", help="sweep round trip and queue")
    options = parser.parse_args(sys.argv[1:] if sys.argv[0].endswith("coupled.py") else [])
    lab = Lab(options.kernel, options.seeds)
    shares(lab, "20 Mbit/s, RTT 40 ms, queue of 1 BDP", "shared-40-1", ALL)
    shares(lab, "random loss of 0.1 %, RTT 40 ms", "even-0.001", ALL)
    losses_and_delays(lab)
    congested_path(lab, 10)
    congested_path(lab, 5)
    if options.queues:
        for rtt_ms in (10, 20, 30, 40, 60, 80):
            for bdp in (0.5, 1, 2):
                title = f"20 Mbit/s, RTT {rtt_ms} ms, queue of {bdp} BDP"
                shares(lab, title, f"shared-{rtt_ms}-{bdp}", COUPLED)


if __name__ == "__main__":
    main()
