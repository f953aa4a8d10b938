# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/bring_up.py compares with: Mininet builds the same network."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mininet.link import Link, TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet

from benchmarks.bring_up_guest import available_kib
from benchmarks.torus import Torus


def main() -> None:
    """Build the network with the links that the first argument names."""
    setLogLevel("error")
    topology = Torus(int(sys.argv[2]))
    had_kib, started = available_kib(), time.monotonic()
    link = {"tc": TCLink, "plain": Link}[sys.argv[1]]
    net = Mininet(topo=topology, link=link, controller=None, build=False)
    net.build()
    took_s, took_kib = time.monotonic() - started, had_kib - available_kib()
    first, last = net.hosts[0], net.hosts[len(net.hosts) // 2 - 1]
    is_connected = ", 0% packet loss" in first.cmd(f"ping -c 1 -W 5 {last.IP()}")
    print(json.dumps({"s": took_s, "memory_kib": took_kib, "is_connected": is_connected}))
    if "stop" in sys.argv:
        net.stop()


if __name__ == "__main__":
    main()
