# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for runs with its own kernel, in real time."""

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.emulation.links import LINKS, NETEM
from testbed.emulation.namespace import enter_new_namespace, returning
from testbed.errors import BackendError, PrerequisiteError
from testbed.netlink import netem, qdisc, route
from testbed.netlink.message import NetlinkSocket

OK, WARNING, MISSING = "ok", "warning", "missing"

# Debian's package of each tool, and whether every run needs it.
TOOLS = {
    "tcpdump": ("tcpdump", True),
    "ss": ("iproute2", True),
    "curl": ("curl", False),
    "squid": ("squid", False),
    "mptcpize": ("mptcpize", False),
    "iperf3": ("iperf3", False),
    "nft": ("nftables", False),
}
MPTCP = Path("/proc/sys/net/mptcp/enabled")
FIRST_INDEX = 12


@dataclass(frozen=True)
class Finding:
    """One feature of this machine.

    Attributes:
        name: the feature.
        status: MISSING: no run is possible; WARNING: some are not, or less well.
        detail: what was found.
        remedy: what mends it; empty: nothing to mend.
    """

    name: str
    status: str
    detail: str
    remedy: str = ""


def examine_machine() -> list[Finding]:
    """Try everything that a run needs; what cannot be tried without root is not listed then."""
    found = [
        Finding("kernel", OK, platform.release()),
        Finding("python", OK, f"{platform.python_version()} ({sys.executable})"),
        judge_root(os.geteuid()),
        judge_mptcp(MPTCP.exists()),
    ]
    if os.geteuid() == 0:
        found += [
            _try("namespaces", _try_namespace, "allow network namespaces (CONFIG_NET_NS)"),
            _try("veth", _try_veth, "modprobe veth"),
            _try("ifb", _try_ifb, "modprobe ifb"),
            _try("link shaping", _try_shaping, "modprobe -a sch_netem sch_tbf"),
            _try(
                "redirection", _try_redirection, "modprobe -a sch_ingress cls_matchall act_mirred"
            ),
        ]
    return found + [judge_tool(name, shutil.which(name)) for name in TOOLS]


def judge_root(user_id: int) -> Finding:
    """Namespaces and links need root."""
    if user_id == 0:
        return Finding("root", OK, "yes")
    return Finding("root", MISSING, "no", "run it as root, or allow sudo without a password")


def judge_mptcp(has_mptcp: bool) -> Finding:
    """A kernel without MPTCP cannot be given it while it runs."""
    if has_mptcp:
        return Finding("MPTCP", OK, "in the kernel")
    remedy = "boot a kernel with CONFIG_MPTCP, such as Debian's"
    return Finding("MPTCP", MISSING, "not in the kernel", remedy)


def judge_tool(name: str, path: str | None) -> Finding:
    """Captures and socket statistics are part of every run, other tools of some."""
    package, is_needed = TOOLS[name]
    if path is not None:
        return Finding(name, OK, path)
    status = MISSING if is_needed else WARNING
    return Finding(name, status, "not installed", f"apt-get install {package}")


def missing_sentence(findings: Iterable[Finding], machine: str) -> str | None:
    """Return one sentence with all that is missing, or None."""
    missing = [one for one in findings if one.status == MISSING]
    if not missing:
        return None
    what = "; ".join(f"{one.name}: {one.detail} ({one.remedy})" for one in missing)
    return f"{machine} cannot carry out runs with its own kernel: {what}"


def require_machine() -> dict[str, Any]:
    """Return what identifies the kernel of this machine.

    Raises:
        PrerequisiteError: it lacks something, and which.
    """
    if sentence := missing_sentence(examine_machine(), "this machine"):
        raise PrerequisiteError(sentence)
    return kernel_identity()


def kernel_identity() -> dict[str, Any]:
    """Return release and build of the running kernel."""
    return {"release": platform.release(), "build": platform.version()}


def _try(name: str, attempt: Callable[[NetlinkSocket], None], remedy: str) -> Finding:
    """Try something in a network namespace that is gone afterwards."""
    try:
        with returning():
            enter_new_namespace().close()
            with NetlinkSocket(socket.NETLINK_ROUTE) as rtnl:
                attempt(rtnl)
    except (BackendError, OSError) as error:
        return Finding(name, MISSING, str(error).lower(), remedy)
    return Finding(name, OK, "works")


def _try_namespace(rtnl: NetlinkSocket) -> None:
    rtnl.request(route.link_up(route.LOOPBACK_INDEX), "bring up lo")


def _try_veth(rtnl: NetlinkSocket) -> None:
    with Path("/proc/thread-self/ns/net").open("rb") as here:
        request = route.new_veth(
            FIRST_INDEX, "a", FIRST_INDEX + 1, "b", here.fileno(), b"\x02\0\0\0\0\x01"
        )
        rtnl.request(request, "make a veth")


def _try_ifb(rtnl: NetlinkSocket) -> None:
    rtnl.request(route.new_ifb(FIRST_INDEX, "q"), "make an ifb")


def _try_shaping(rtnl: NetlinkSocket) -> None:
    if os.environ.get(LINKS) != NETEM:
        try:
            rtnl.request(
                qdisc.new_lab_link(route.LOOPBACK_INDEX, qdisc.LinkChange()), "try lab_link"
            )
            return
        except BackendError:
            pass
    lo = route.LOOPBACK_INDEX
    rtnl.request(netem.set_netem(lo, 0.01, 0.0, None, flags=netem.NEW), "use netem")
    rtnl.request(netem.set_tbf(lo, 1, 8_000_000, 80_000, netem.REPLACE), "use tbf")


def _try_redirection(rtnl: NetlinkSocket) -> None:
    _try_ifb(rtnl)
    rtnl.request(qdisc.new_ingress(route.LOOPBACK_INDEX), "use ingress")
    rtnl.request(qdisc.redirect_ingress(route.LOOPBACK_INDEX, FIRST_INDEX), "redirect packets")
