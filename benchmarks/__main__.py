# SPDX-License-Identifier: Apache-2.0
"""Run all benchmarks, or those that are named: python -m benchmarks [NAME...]"""

import importlib
import os
import sys

NAMES = (
    "lab_boot",
    "ride",
    "fidelity",
    "repeatability",
    "pcap_parse",
    "large_capture",
    "bring_up",
    "coupled",
    "fluid",
    "grin",
    "migrate",
    "interference",
    "wifi",
)


def main() -> None:
    """Run what the arguments name."""
    names = sys.argv[1:] or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the first measurement")
    for name in names:
        print(f"\n{name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
