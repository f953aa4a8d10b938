# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/bring_up.py runs on the target: one JSON line of times and memory.

Time in the lab is virtual, so the host's is read from the processor's time stamp counter.
"""

import ctypes
import json
import mmap
import os
import sys

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_COUNTER = bytes.fromhex("0f3148c1e2204809d0c3")


class Counter:
    """The processor's time stamp counter, of x86-64."""

    def __init__(self) -> None:
        protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=protection)
        self._code.write(READ_COUNTER)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self.read = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)


def available_kib() -> int:
    """Return the memory that the machine could still give."""
    with open("/proc/meminfo") as file:  # noqa: PTH123  # pathlib is among what is measured
        found = dict(line.split(":") for line in file)
    return int(found["MemAvailable"].split()[0])


def start() -> None:
    """Start ourselves again, as the lab starts the runner, and say when that was."""
    counter = Counter()  # its code goes when it goes
    environment = {**os.environ, "STARTED": str(counter.read()), "HAD": str(available_kib())}
    argv = [sys.executable, "-S", "-s", "-P", __file__, "bring_up", *sys.argv[2:]]
    child = os.posix_spawn(sys.executable, argv, environment)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def bring_up(plan: str) -> None:
    """Do what the runner does until the last link is up."""
    counter = Counter()
    stamps = [("python", counter.read())]
    import testbed.runner  # noqa: F401
    from testbed.emulation.mptcp import add_endpoints, set_limits, sysctls
    from testbed.emulation.network import Network

    stamps.append(("import", counter.read()))
    with open(plan) as file:  # noqa: PTH123
        told = json.load(file)
    # A network, or a run with all that belongs to it.
    run = told if "topology" in told else {"topology": told, "sysctls": {"*": {}}, "mptcp": None}
    own = sysctls(run["mptcp"]) if run["mptcp"] else {"net.mptcp.blackhole_timeout": 0}
    stamps.append(("plan", counter.read()))
    network = Network(run["topology"], {**run["sysctls"], "*": own | run["sysctls"]["*"]})
    stamps.append(("nodes", counter.read()))
    network.build()
    stamps.append(("links", counter.read()))
    if run["mptcp"]:
        set_limits(network.nodes, run["mptcp"]["limits"])
        add_endpoints(network, run["topology"]["endpoints"])
        stamps.append(("endpoints", counter.read()))
    took_kib = int(os.environ["HAD"]) - available_kib()
    ticks = {}
    before = int(os.environ["STARTED"])
    for name, at in stamps:
        ticks[name], before = at - before, at
    print(json.dumps({"ticks": ticks, "memory_kib": took_kib}))


if __name__ == "__main__":
    if sys.argv[1] == "start":
        start()
    bring_up(sys.argv[2])
