# SPDX-License-Identifier: Apache-2.0
"""What the target says of itself, and what it needs before a run can start."""

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from testbed.emulation.namespace import knows_sysctl, read_sysctl
from testbed.emulation.network import Network
from testbed.errors import CommandError, PrerequisiteError, TestbedError
from testbed.process import run

# The argument of the lab kernel with which its clock is not the machine's.
TIME_TRAVEL = "time-travel="
VIRTUAL, REAL = "virtual", "real"

VERSION_ARGV = {
    "curl": ["curl", "--version"],
    "ss": ["ss", "-V"],
    "mptcpize": ["mptcpize", "--version"],
    "squid": ["squid", "-v"],
    "tcpdump": ["tcpdump", "--version"],
    "wpa_supplicant": ["wpa_supplicant", "-v"],
}
RECORDED_SYSCTLS = (
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.mptcp.enabled",
    "net.mptcp.blackhole_timeout",
    "net.mptcp.path_manager",
    "net.mptcp.scheduler",
    "net.mptcp.stale_loss_cnt",
)
# Debian's package of each command that has another name than its package.
PACKAGES = {
    "iperf3": "iperf3",
    "ss": "iproute2",
    "ip": "iproute2",
    "wpa_supplicant": "wpasupplicant",
}


def require_tools(names: list[str]) -> None:
    """Refuse to start when a tool is missing, with all that are.

    Raises:
        PrerequisiteError: one or more are.
    """
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = dict.fromkeys(PACKAGES.get(name, name) for name in missing)
        raise PrerequisiteError(
            f"this machine has no {' and no '.join(missing)}; "
            f"install with 'apt-get install {' '.join(packages)}'"
        )


def tool_versions(names: list[str]) -> dict[str, str]:
    """Return the first line of what each of these tools says of its version, where it is known how.

    A workload that chooses its tool says its version itself.
    """
    versions = {"python": platform.python_version()}
    for name in names:
        if name not in VERSION_ARGV:
            continue
        try:
            versions[name] = run(VERSION_ARGV[name], timeout_s=30).partition("\n")[0].strip()
        except TestbedError as error:
            versions[name] = str(error)
    return versions


def node_sysctls(network: Network) -> dict[str, dict[str, str]]:
    """Return the recorded sysctls of every host."""
    found: dict[str, dict[str, str]] = {}
    for node in network.nodes.values():
        if node.kind == "host":
            with node.namespace.inside():
                known = [name for name in RECORDED_SYSCTLS if knows_sysctl(name)]
                found[node.name] = {name: read_sysctl(name) for name in known}
    return found


def clock() -> str:
    """Return whether time is the lab's own, which waits for the work, or the real one."""
    words = Path("/proc/cmdline").read_text().split()
    return VIRTUAL if any(word.startswith(TIME_TRAVEL) for word in words) else REAL


def kernel_facts() -> dict[str, Any]:
    """Return what identifies the running kernel."""
    return {"release": platform.release()}


def make_durable(folder: Path) -> None:
    """Write every file of a folder out, so that a full disk is noticed and not left to chance.

    Raises:
        CommandError: the results do not fit.
    """
    for path in sorted(folder.iterdir()):
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise CommandError(
                f"raw/{path.name} cannot be written: {(error.strerror or '').lower()}; "
                "make room in the results folder or choose another with --out"
            ) from error
