# SPDX-License-Identifier: Apache-2.0
"""How long a large network takes until it can be used: ours, and Mininet's of the same plan.

Ours is counted from the start of the runner's process to the last link up.
"""

import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bring_up_guest import Counter
from benchmarks.torus import Torus
from testbed.backends.target_code import target_code
from testbed.lab.boot import BootOptions, GuestCommand, run_in_lab
from testbed.lab.kernel import PROJECT_ROOT, find_kernel

RUNS = 5
SIDE = 10
CODE, BENCH = "/run/code", "/run/bench"
GUEST = Path(__file__).with_name("bring_up_guest.py")
MININET = Path(__file__).with_name("bring_up_mininet.py")
MEMORY_BYTES = 4 * 2**30


def main() -> None:
    """Measure both and print times, memory and their ratio."""
    started = time.monotonic()
    plain = Torus(SIDE).plain()
    print(f"  {len(plain['nodes'])} nodes, {len(plain['links'])} shaped links,", end=" ")
    print(f"{sum(map(len, plain['routes'].values()))} routes,", end=" ")
    print(f"planned in {time.monotonic() - started:.2f} s")
    if platform.machine() != "x86_64":
        print("  not measured: the time stamp counter of this processor cannot be read")
        return
    ours_s = measure_ours(plain)
    measure_mininet("lab", run_in_real_time, "tc", ours_s)
    if os.geteuid() == 0:
        measure_mininet("host, links not shaped", run_here, "plain", ours_s)


def measure_ours(plain: dict[str, Any]) -> float:
    """Print the median of our time with its phases, and return it."""
    hertz = counter_hertz()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "plan.json").write_text(json.dumps(plain))
        shutil.copy(GUEST, folder)
        found = [run_ours(Path(folder)) for _ in range(RUNS + 1)][1:]
    times_s = [sum(one["ticks"].values()) / hertz for one in found]
    median_s = statistics.median(times_s)
    phases = {
        name: statistics.median(one["ticks"][name] for one in found) / hertz
        for name in found[0]["ticks"]
    }
    memory_mib = statistics.median(one["memory_kib"] for one in found) / 1024
    print(
        f"  ours, lab: {median_s:.3f} s ({min(times_s):.3f}-{max(times_s):.3f}, n={RUNS}),", end=""
    )
    print(f" {memory_mib:.0f} MiB")
    print("   ", ", ".join(f"{name} {took_s:.3f}" for name, took_s in phases.items()), "s")
    return median_s


def counter_hertz() -> float:
    """Return how fast the time stamp counter counts."""
    counter = Counter()
    ticks, started = counter.read(), time.perf_counter()
    time.sleep(0.5)
    return float((counter.read() - ticks) / (time.perf_counter() - started))


def run_ours(folder: Path) -> dict[str, Any]:
    """Bring the network up once, in a lab of its own."""
    interpreter = os.path.realpath(sys.executable)
    argv = [interpreter, "-S", "-s", "-P", f"{BENCH}/{GUEST.name}", "start", f"{BENCH}/plan.json"]
    command = GuestCommand(
        argv,
        env={"PYTHONPATH": CODE},
        mounts={CODE: target_code(CODE), BENCH: folder},
        visible=(Path(sys.base_prefix),),
    )
    return in_lab(command, BootOptions())


def in_lab(command: GuestCommand, options: BootOptions) -> dict[str, Any]:
    """Return what a command in the lab says as JSON."""
    said, errors = io.BytesIO(), io.BytesIO()
    status = run_in_lab(
        command, kernel=find_kernel().path, options=options, stdout=said, stderr=errors
    )
    if status:
        sys.exit(errors.getvalue().decode(errors="replace"))
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def run_in_real_time(argv: list[str]) -> dict[str, Any]:
    """Run Mininet in a lab; in virtual time its waiting for tc takes many times as long."""
    command = GuestCommand(
        argv,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        cwd=PROJECT_ROOT,
        visible=(PROJECT_ROOT, Path(sys.prefix), Path(sys.base_prefix)),
    )
    return in_lab(command, BootOptions(memory_bytes=MEMORY_BYTES, is_real_time=True))


def run_here(argv: list[str]) -> dict[str, Any]:
    """Run Mininet on this machine."""
    done = subprocess.run([*argv, "stop"], stdout=subprocess.PIPE, check=True, timeout=1800)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure_mininet(place: str, run: Any, links: str, ours_s: float) -> None:
    """Print what Mininet takes for the same network, once: it takes minutes."""
    if shutil.which("mnexec") is None:
        print(f"  Mininet, {place}: not measured; install with 'apt-get install mininet'")
        return
    found = run([sys.executable, "-W", "ignore", str(MININET), links, str(SIDE)])
    connected = "connected" if found["is_connected"] else "NOT connected"
    print(f"  Mininet, {place}: {found['s']:.1f} s (n=1, {connected}),", end=" ")
    print(f"{found['memory_kib'] / 1024:.0f} MiB, {found['s'] / ours_s:.0f} times ours", flush=True)
