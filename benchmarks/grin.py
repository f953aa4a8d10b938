# SPDX-License-Identifier: Apache-2.0
"""What a fat tree costs: bring-up, and time and memory per virtual second at full load.

A packet-hop is a packet that a link delivered. The time is that of the whole run, with the start of
the lab and of Python in it, so longer runs look better.
"""

import json
import platform
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.bring_up import measure_ours
from testbed.backends.lab import LabBackend
from testbed.lab.kernel import PROJECT_ROOT
from testbed.plan import plan_run
from testbed.rundir import read_json, write_json
from testbed.spec.load import load_experiment

SPEC = PROJECT_ROOT / "experiments" / "grin.yaml"
# Ports of a switch, rate, virtual time, subflows.
TREES = ((4, "100 Mbit/s", "4 s", 8), (8, "10 Mbit/s", "4 s", 8))
SPARE_PORTS = (0, 1)


def main() -> None:
    """Measure and print."""
    for k, rate, duration, subflows in TREES:
        for spare_ports in SPARE_PORTS:
            plan = plan_tree(k, rate, duration, subflows, spare_ports)
            topology = plan["topology"]
            print(f"  k={k}, {spare_ports} spare ports, {rate}, {subflows} subflows:", end=" ")
            print(f"{len(topology['nodes'])} nodes, {len(topology['links'])} links")
            if platform.machine() == "x86_64":
                measure_ours(plan)
            measure_load(plan)


def plan_tree(k: int, rate: str, duration: str, subflows: int, spare_ports: int) -> dict[str, Any]:
    """Return the content of run.json of a full permutation."""
    parameters = {"k": k, "rate": rate, "subflows": subflows, "spare_ports": spare_ports}
    asked = {
        "topology": {"name": "fat_tree", "parameters": parameters},
        "duration": duration,
        "matrix": {},
    }
    spec = load_experiment(SPEC, asked).spec
    return {**plan_run(spec, 1), "run_id": "benchmark", "varied": {}}


def measure_load(plan: dict[str, Any]) -> None:
    """Carry a run out and print what it took."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_json(folder / "run.json", plan)
        (folder / "raw").mkdir()
        backend = LabBackend()
        backend.up()
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        status = backend.run(folder, 1, lambda _: None, threading.Event())
        wall_s, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if status:
            print(f"   failed: {(folder / 'runner.log').read_text()[-300:]}")
            return
        hops = packet_hops(folder)
        goodput = sum(flow["bytes"] for flow in read_json(folder / "raw" / "bulk.json")["flows"])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    virtual_s, servers = plan["duration_s"], len(plan["topology"]["datacenter"]["hosts"])
    times = f"{wall_s / virtual_s:.2f} s wall and {cpu_s / virtual_s:.2f} s CPU per virtual s"
    print(f"    {times},", end="")
    print(f" {hops / cpu_s / 1e3:.0f} k packet-hops per CPU s,", end="")
    print(f" {goodput * 8 / virtual_s / servers / 1e6:.2f} Mbit/s per server,", end="")
    print(f" at most {after.ru_maxrss / 1024:.0f} MiB in one process", flush=True)


def packet_hops(folder: Path) -> int:
    """Return how many packets all links delivered."""
    links = json.loads((folder / "raw" / "links.end.json").read_text())
    return sum(way["packets"] for link in links.values() for way in link.values())
