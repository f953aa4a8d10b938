#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the flow-level model: CPU time and memory of the points of one figure.

A figure is goodput against the fraction of active servers, without and with one spare port: eight
fractions, LIA, eight subflows, one seed; sixteen solutions, each with its two optima.

Usage: python -m benchmarks.fluid [--k 32] [--controls lia]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.fluid.case import FluidCase, FluidResult
from testbed.fluid.solve import solve
from testbed.fluid.sweep import matrix

FRACTIONS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


def anonymous_mb() -> float:
    """Return this process's memory without files, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def time_case(case: FluidCase) -> tuple[FluidResult, float]:
    """Return the solution of a case and the CPU seconds that it took."""
    begin = time.process_time()
    result = solve(case)
    return result, time.process_time() - begin


def main(arguments: Sequence[str] = ()) -> None:
    """Print a line per point, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--k", type=int, default=32, help="ports of a fat tree's switch")
    parser.add_argument("--controls", default="lia", help="congestion controls, with commas")
    parser.add_argument("--spare-ports", default="0,1", help="numbers of them, with commas")
    options = parser.parse_args(arguments)
    base = FluidCase(parameters={"k": options.k})
    ports = [int(count) for count in options.spare_ports.split(",")]
    solve(FluidCase())  # imports
    total, memory = 0.0, 0.0
    print("spare  active  control  NICs   optimum  lender  rounds  CPU s")
    for case in matrix(base, ports, FRACTIONS, options.controls.split(","), (8,)):
        result, seconds = time_case(case)
        row = result.row()
        total, memory = total + seconds, max(memory, anonymous_mb())
        print(f"{case.spare_ports:5} {case.active_fraction:7.3f}  {case.cc:7}"
              f"{row['goodput_nic']:6.3f} {row['optimum_nic']:8.3f} "
              f"{row['lender_goodput_nic']:8.3f} {result.rounds:6} {seconds:7.2f}",
              flush=True)  # fmt: skip
    print(f"{result.servers:,} servers: {total:.1f} CPU s on one core, {memory:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
