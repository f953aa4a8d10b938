# SPDX-License-Identifier: Apache-2.0
"""The settings of every host's kernel: sysctls, MPTCP, endpoints."""

from typing import Any

from testbed.errors import PlanError
from testbed.plan.fairness import SYSCTLS
from testbed.plan.interference import interference_sysctls
from testbed.plan.modes import Use
from testbed.plan.path_manager import USERSPACE
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import FairnessSpec
from testbed.topology import near_miss


def sysctls(spec: ExperimentSpec, manager: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the sysctls of all nodes, and who manages the paths of one."""
    found: dict[str, dict[str, Any]] = {"*": buffers(spec) | interference_sysctls(spec)}
    if isinstance(spec.workload, FairnessSpec):
        found["*"] |= SYSCTLS
    if manager is not None:
        found[manager["node"]] = {"net.mptcp.path_manager": USERSPACE}
    return found


def mptcp_settings(spec: ExperimentSpec) -> dict[str, Any]:
    """Return "mptcp" of run.json."""
    return {
        **spec.mptcp.model_dump(exclude={"endpoints", "script"}),
        "path_manager": "kernel",
        "congestion_control": spec.tcp.congestion_control,
    }


# Least, default and greatest buffer that the kernel takes on a machine with memory enough (tcp(7)).
DEFAULT_BUFFERS = {
    "net.ipv4.tcp_rmem": (4096, 131_072, 6_291_456),
    "net.ipv4.tcp_wmem": (4096, 16_384, 4_194_304),
}


def buffers(spec: ExperimentSpec) -> dict[str, Any]:
    """Return the sysctls of TCP's buffers; the experiment says the greatest, and what is new."""
    initial = {"net.ipv4.tcp_rmem": spec.tcp.initial_receive_buffer}
    asked = dict(zip(DEFAULT_BUFFERS, (spec.tcp.receive_buffer, spec.tcp.send_buffer), strict=True))
    return {
        name: f"{least} {min(initial.get(name) or default, asked[name] or greatest)} "
        f"{asked[name] or greatest}"
        for name, (least, default, greatest) in DEFAULT_BUFFERS.items()
    }


def endpoints(spec: ExperimentSpec, use: Use, plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the MPTCP endpoint of each path that has one: as the file says, else as the mode."""
    names = [path["name"] for path in plain["paths"]]
    for name in spec.mptcp.endpoints:
        if name not in names:
            what = f'mptcp.endpoints: "{name}" is not a path of this network'
            raise PlanError(f"{what}{near_miss(name, names)}")
    if use.transport != "mptcp":
        return []
    flags: dict[str, list[str]] = {**use.flags}
    for name, said in spec.mptcp.endpoints.items():
        flags[name] = [str(flag) for flag in said]
    return [{"path": name, "flags": flags[name]} for name in names if flags.get(name)]
