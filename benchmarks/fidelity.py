# SPDX-License-Identifier: Apache-2.0
"""Do links do what was asked, on idle and on busy cores? RTT, rate, queue, trace; two paths."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import ride
from benchmarks.repeatability import busy_cores

TESTBED = Path(sys.executable).with_name("testbed")
ROOT = Path(__file__).parents[1]


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Return what a command with --json printed."""
    done = subprocess.run(
        [str(TESTBED), *arguments, "--json", "--out", str(folder)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def show_links(run_dir: Path) -> None:
    """Print base RTT of the paths and the rate of each busy link against what was asked."""
    for path, rtt in json.loads((run_dir / "raw/paths.rtt.json").read_text()).items():
        error_us = max(abs(measured - rtt["asked_us"]) for measured in rtt["measured_us"])
        print(
            f"    path {path}: asked {rtt['asked_us'] / 1e3:.3f} ms, "
            f"off by {error_us:.1f} us at most"
        )
    plan = json.loads((run_dir / "run.json").read_text())
    samples = pd.read_parquet(run_dir / "derived/link_samples.parquet")
    for (link, direction), rows in samples.groupby(["link", "direction"], observed=True):
        asked = ride.direction_of(plan, str(link), str(direction))["rate_bps"]
        last = rows.iloc[-1]
        if asked is None or last["busy_ns"] < 1e9:
            continue
        measured = last["delivered_bytes"] * 8e9 / last["busy_ns"]
        print(
            f"    link {link} {direction}: asked {asked / 1e6:g} Mbit/s, "
            f"off by {measured / asked - 1:+.4%} over {last['busy_ns'] / 1e9:.1f} s busy"
        )


def show_trace(run_dir: Path) -> None:
    """Print how far a saturated link was from its trace, per 10 s."""
    plan = json.loads((run_dir / "run.json").read_text())
    way = ride.direction_of(plan, "3g", "b_to_a")
    samples = pd.read_parquet(run_dir / "derived/link_samples.parquet")
    mine = samples[(samples["link"] == "3g") & (samples["direction"] == "b_to_a")]
    marks = mine[(mine["t_s"] % 10 < 0.01) & (mine["t_s"] > 5)].drop_duplicates("t_s")
    busy = marks["busy_ns"].diff() / (marks["t_s"].diff() * 1e9)
    carried = marks["delivered_bytes"].diff().to_numpy()[1:]
    offered = ride.capacity_bytes(way, marks["t_s"].to_numpy())
    saturated = busy.to_numpy()[1:] > 0.9999
    errors = np.abs(carried - offered)[saturated] / offered[saturated]
    name = way["trace"]["file"]
    worst = f"{errors.max():.3%}" if errors.size else "unknown"
    print(f"    {name}: {errors.size} saturated times of 10 s, off by {worst} at most")


def main() -> None:
    """Print all figures, idle and busy."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        two_paths = ("run", str(ROOT / "experiments/two_paths.yaml"))
        for load in ("idle", "busy"):
            if load == "busy":
                with busy_cores():
                    found = run(folder / load, *two_paths)
            else:
                found = run(folder / load, *two_paths)
            print(f"  {load} cores")
            for one in found["runs"]:
                print(
                    f"    {one['mode']}: {one['verdict']}, {one['steady_goodput_mbps']:.3f} Mbit/s"
                )
            show_links(Path(found["runs"][-1]["run_dir"]))
        for trace in sys.argv[2:]:
            arguments = ("--mode", "tcp-3g", "--trace-3g", trace, "--size", "20MB")
            found = run(folder / "trace", "offload", *arguments)
            print(f"  {found['runs'][0]['verdict']}")
            show_trace(Path(found["runs"][0]["run_dir"]))


if __name__ == "__main__":
    main()
