# SPDX-License-Identifier: Apache-2.0
"""iperf3, or iperf 2 where iperf3 does not go with virtual time.

iperf3 before 3.16 asks the clock in a loop, each time of which moves virtual time by a little:
10 s of traffic take longer than in real time. Since then it waits in the kernel, but a client that
is given a size does not end in virtual time (3.18). iperf 2 always waits.

raw/<node>.iperf3.out is JSON, raw/<node>.iperf.out CSV; analysis/parse/iperf.py reads both.
"""

import contextlib
import json
import math
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.errors import CommandError, PrerequisiteError
from testbed.process import Background, quoted_tail
from testbed.workloads.base import Workload
from testbed.workloads.listening import listens

OLDEST_IPERF3 = (3, 16)
OLDEST_IPERF2 = (2, 1)  # --reverse
MPTCP_OPTION = "--mptcp"  # of iperf3 3.19, if it was built with it
READY_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 30.0
SERVER_END_S = 5.0
INTERRUPTED = "interrupt"  # what iperf3 calls its error when it is told to end
LONGEST_S = 86_400  # what iperf3 takes
INTERVAL_S = 1
DOWN, MPTCP = "down", "mptcp"
_VERSION = re.compile(r"^iperf (?:version )?(\d+(?:\.\d+)+)", re.MULTILINE)


@dataclass(frozen=True)
class Tool:
    """What is used on this machine.

    Attributes:
        program: "iperf3" or "iperf".
        name: what the result calls it, with the reason when it is not iperf3.
        has_mptcp: it has an option for MPTCP.
    """

    program: str
    name: str
    has_mptcp: bool = False


def choose_tool(
    iperf3_version: str, iperf3_help: str, iperf_version: str, *, has_size: bool
) -> Tool:
    """Return what to use, from what the programs print; "" where there is none.

    Args:
        iperf3_version: as iperf3 --version prints it.
        iperf3_help: as iperf3 --help prints it.
        iperf_version: as iperf --version prints it.
        has_size: what is sent has a size.

    Raises:
        PrerequisiteError: neither will do.
    """
    iperf3, iperf = _version(iperf3_version), _version(iperf_version)
    if not iperf3:
        reason = "iperf3, which is missing"
    elif _numbers(iperf3) < OLDEST_IPERF3:
        reason = f"iperf3 {iperf3}, which polls the clock"
    elif has_size:
        reason = f"iperf3 {iperf3}, which does not end in virtual time when given a size"
    else:
        return Tool("iperf3", f"iperf3 {iperf3}", MPTCP_OPTION in iperf3_help)
    if iperf and _numbers(iperf) >= OLDEST_IPERF2:
        return Tool("iperf", f"iperf {iperf} instead of {reason}")
    raise PrerequisiteError(
        f"this machine has no iperf 2, which stands in for {reason}; "
        "install with 'apt-get install iperf'"
    )


def _version(says: str) -> str:
    found = _VERSION.search(says)
    return found[1] if found else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def says(*argv: str) -> str:
    """Return what a command prints, or "" when there is none.

    iperf 2 prints its version to standard error in some releases and exits 1 after it.
    """
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=PROBE_TIMEOUT_S
    )
    return done.stdout + done.stderr


def server_argv(tool: Tool, plan: dict[str, Any]) -> list[str]:
    """Return the command of the server."""
    if tool.program == "iperf3":
        own = ["iperf3", "--server", "-4", "--one-off", "--json"]
    else:
        own = ["iperf", "--server", "--reportstyle", "C"]
    rest = ["--interval", str(INTERVAL_S), "--port", str(plan["port"])]
    return _over_transport(tool, plan, own + rest)


def client_argv(tool: Tool, plan: dict[str, Any]) -> list[str]:
    """Return the command of the client."""
    style = ["-4", "--json"] if tool.program == "iperf3" else ["--reportstyle", "C"]
    return _over_transport(
        tool,
        plan,
        [
            tool.program,
            "--client",
            plan["address"],
            *style,
            "--interval",
            str(INTERVAL_S),
            "--port",
            str(plan["port"]),
            "--parallel",
            str(_streams(plan)),
            *_amount(tool, plan),
            *(["--bind", plan["source_address"]] if plan.get("source_address") else []),
            *(["--reverse"] if plan["direction"] == DOWN else []),
        ],
    )


def _over_transport(tool: Tool, plan: dict[str, Any], argv: list[str]) -> list[str]:
    if plan["transport"] != MPTCP:
        return argv
    return [*argv, MPTCP_OPTION] if tool.has_mptcp else ["mptcpize", "run", *argv]


def _streams(plan: dict[str, Any]) -> int:
    return int(plan.get("streams") or 1)


def _amount(tool: Tool, plan: dict[str, Any]) -> list[str]:
    """Say how much to send: a size, which is of all streams together, or a time."""
    size, duration_s = plan.get("size_bytes"), plan.get("duration_s") or LONGEST_S
    if tool.program == "iperf3":  # knows whole seconds only
        return ["--time", str(math.ceil(duration_s))]
    return ["--num", str(size // _streams(plan))] if size else ["--time", f"{duration_s:g}"]


class Iperf3Workload(Workload):
    """One iperf3 client and its server, or the same of iperf 2."""

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._client: Background | None = None
        self._pidfd = -1
        self._is_cut_off = False

    def start_servers(self, stack: ExitStack) -> None:
        """Choose the tool, start its server and return when it listens.

        Raises:
            PrerequisiteError: no tool will do.
        """
        self._tool = choose_tool(
            says("iperf3", "--version"),
            says("iperf3", "--help"),
            says("iperf", "--version"),
            has_size=bool(self._plan.get("size_bytes")),
        )
        argv = server_argv(self._tool, self._plan)
        if shutil.which(argv[0]) is None:
            raise PrerequisiteError(
                f"this machine has no {argv[0]}; install with 'apt-get install {argv[0]}'"
            )
        self._server = stack.enter_context(self._start_process("server", argv))
        namespace = self._network.nodes[self._plan["server"]].namespace

        def is_listening() -> bool:
            with namespace.inside():
                return listens(Path("/proc/thread-self/net/tcp").read_text(), self._plan["port"])

        self._server.wait_until(is_listening, timeout_s=READY_TIMEOUT_S)

    def _start_process(self, role: str, argv: list[str]) -> Background:
        node = self._plan[role]
        return Background(
            argv,
            stdout_path=self._raw / self._file(role, "out"),
            stderr_path=self._raw / self._file(role, "err"),
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            prepare=self._network.nodes[node].namespace.enter,
        )

    def _file(self, role: str, kind: str) -> str:
        return f"{self._plan[role]}.{self._tool.program}.{kind}"

    def start(self, stack: ExitStack) -> None:
        """Start the client."""
        argv = client_argv(self._tool, self._plan)
        self._client = stack.enter_context(self._start_process("client", argv))
        self._pidfd = os.pidfd_open(self._client.pid)
        stack.callback(os.close, self._pidfd)

    def watched(self) -> list[int]:
        """Return the descriptor of the client."""
        return [self._pidfd] if self._pidfd >= 0 else []

    def is_done(self) -> bool:
        """Say whether the client has ended."""
        return self._client is not None and self._client.returncode is not None

    def stop(self) -> None:
        """Let client and server write their reports and end."""
        if self._client is None:
            return
        self._is_cut_off = self._is_cut_off or self._client.returncode is None
        self._client.stop()
        if not self._is_cut_off and self._tool.program == "iperf3":
            with contextlib.suppress(CommandError):  # it ends a round trip after its client
                self._server.wait(timeout_s=SERVER_END_S)
        self._server.stop()  # iperf 2 writes its report at the latest now

    def result(self) -> dict[str, Any]:
        """Say how the client ended and where the reports are; "receiver" counted what arrived."""
        self.stop()
        assert self._client is not None
        said = (self._raw / self._file("client", "out")).read_text(errors="replace")
        failed = (self._raw / self._file("client", "err")).read_text(errors="replace")
        error = client_error(self._tool.program, said, failed)
        status = self._client.returncode
        if self._is_cut_off:
            # What has no size ends well with the run.
            status = None if self._plan.get("size_bytes") else 0
        return {
            # iperf 2.1.8 and iperf3 3.12 exit with 0 when they cannot connect.
            "exit_status": status or (1 if error else status),
            "error": error,
            "tool": self._tool.name,
            "program": self._tool.program,
            "receiver": "client" if self._plan["direction"] == DOWN else "server",
            "reports": {role: self._file(role, "out") for role in ("client", "server")},
        }


def client_error(program: str, out: str, err: str) -> str | None:
    """Return what went wrong in a client that has ended, or None."""
    if program == "iperf3":
        try:
            found = str(json.loads(out).get("error") or "")
        except ValueError:
            return f"iperf3 wrote no report{quoted_tail(err)}"
        return None if found.startswith(INTERRUPTED) else found or None
    return None if out.strip() else f"iperf wrote no report{quoted_tail(err)}"
