# SPDX-License-Identifier: Apache-2.0
"""What is promised of migrations: gaps, whole streams, and rounds as the model has them."""

import tempfile
from pathlib import Path

from benchmarks.promises import met, runs_of

MAKE, BREAK = "mptcp-make-before-break", "mptcp-break-before-make"

# The machine is 1 ms from its client once it has moved.
MORE_S = {MAKE: 0.1, BREAK: 2 * 0.001 + 0.3}
MODEL_FRACTION = 0.05


def gaps(folder: Path) -> None:
    """Print the gap of each MPTCP variant for two lengths of the stop."""
    options = ("--dirty-rate", "32Mbit/s", "--downtime-limit", "600ms,2200ms", "--seeds", "2")
    for run in runs_of("migrate", folder, "--variant", f"{MAKE},{BREAK}", *options):
        stop_s, more_s = run["stop_and_copy_s"], MORE_S[run["mode"]]
        worst_s = max(run["gap_s"], run["upload_gap_s"])
        print(
            f"  {run['mode']}, seed {run['seed']}: stopped {stop_s:.3f} s, gap {run['gap_s']:.3f} s"
            f" down, {run['upload_gap_s']:.3f} s up (at most {stop_s + more_s:.3f} s: "
            f"{met(worst_s <= stop_s + more_s)}), hashes {met(run['sha256_ok'])}"
        )


def model(folder: Path) -> None:
    """Print rounds and length of migrations beside the model."""
    options = ("--memory", "32MiB,128MiB", "--dirty-rate", "8Mbit/s,40Mbit/s", "--variant", MAKE)
    for run in runs_of("migrate", folder, *options):
        took_s, said_s = run["migration_s"], run["model_migration_s"]
        off = abs(took_s - said_s) / said_s
        is_same = run["precopy_rounds"] == run["model_rounds"] and off <= MODEL_FRACTION
        print(
            f"  {', '.join(run['varied'].values())}: {run['precopy_rounds']} rounds, {took_s:.2f} s"
            f"; model {run['model_rounds']}, {said_s:.2f} s: {met(is_same)}"
        )


def no_end(folder: Path) -> None:
    """Print how a migration ends that does not converge."""
    options = ("--dirty-rate", "80Mbit/s", "--max-rounds", "4", "--variant", MAKE)
    for limit, outcome in (("stop", "moved"), ("abort", "failed")):
        (run,) = runs_of("migrate", folder, *options, "--set", f"workload.on_limit={limit}")
        is_met = (run["outcome"], run["precopy_rounds"]) == (outcome, 4) and run["sha256_ok"]
        print(f"  does not converge, {limit}: {run['outcome']} after 4 rounds: {met(is_met)}")


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as name:
        for part in (gaps, model, no_end):
            part(Path(name))


if __name__ == "__main__":
    main()
