# SPDX-License-Identifier: Apache-2.0
"""A download through a proxy: an origin web server, Squid, and curl.

For MPTCP, mptcpize makes the sockets of Squid and curl MPTCP sockets; the origin speaks plain TCP.
A client that is told to use another path ends its connection and asks for the rest of the file
over a new one, as a download manager does.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from testbed.content import FILE_PATH
from testbed.emulation.network import Network
from testbed.process import Background
from testbed.workloads.base import Workload
from testbed.workloads.listening import listens

SQUID_CONF = "squid.conf"
READY_TIMEOUT_S = 30.0

# Between a failed attempt and the next one on the same path.
RETRY_S = 1
PYTHON = [sys.executable, "-S", "-s", "-P", "-m"]


class DownloadWorkload(Workload):
    """The programs of one download."""

    tools = ("curl", "mptcpize", "squid")

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        super().__init__(plan, network, raw)
        self._scratch = Path("/tmp/download")
        self._image = self._scratch / "image"
        self._path: str | None = plan["path"]
        self._current: Background | None = None
        self._is_waiting = False
        self._attempts: list[dict[str, Any]] = []
        self._pidfd = -1

    def start_servers(self, stack: ExitStack) -> None:
        """Start origin and proxy and return when both listen."""
        self._scratch.mkdir(mode=0o777)
        self._scratch.chmod(0o777)  # Squid gives its privileges up
        (self._scratch / SQUID_CONF).write_text(self._plan["squid_conf"])
        origin, proxy = self._plan["origin"], self._plan["proxy"]
        numbers = [origin["port"], self._plan["size_bytes"], self._plan["seed"]]
        module = [*PYTHON, "testbed.workloads.origin", origin["address"], *map(str, numbers)]
        self._serve(stack, origin, module, "origin")
        conf = str(self._scratch / SQUID_CONF)
        squid = self._over_transport(["squid", "-N", "-d", "1", "-f", conf])
        self._serve(stack, proxy, squid, "squid")

    def _over_transport(self, argv: list[str]) -> list[str]:
        return ["mptcpize", "run", *argv] if self._plan["transport"] == "mptcp" else argv

    def _serve(self, stack: ExitStack, server: dict[str, Any], argv: list[str], name: str) -> None:
        process = stack.enter_context(self._start_process(server["node"], argv, name))
        namespace = self._network.nodes[server["node"]].namespace

        def is_listening() -> bool:
            with namespace.inside():
                return listens(Path("/proc/thread-self/net/tcp").read_text(), server["port"])

        process.wait_until(is_listening, timeout_s=READY_TIMEOUT_S)

    def _start_process(self, node: str, argv: list[str], name: str) -> Background:
        return Background(
            argv,
            stdout_path=self._raw / f"{node}.{name}.out",
            stderr_path=self._raw / f"{node}.{name}.err",
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            prepare=self._network.nodes[node].namespace.enter,
        )

    def start(self, stack: ExitStack) -> None:
        """Start the first connection, if the client has a path for it."""
        self._start_ns = time.monotonic_ns()
        stack.callback(self._end_attempt)
        if self._path is not None or self._plan["transport"] == "mptcp":
            self._attempt()

    def _attempt(self) -> None:
        first = self._first_missing()
        number = len(self._attempts) + 1
        name = "curl" if number == 1 else f"curl.{number}"
        argv = self._over_transport(self._curl_argv(first))
        self._current = self._start_process(self._plan["client"], argv, name)
        self._is_waiting = False
        self._pidfd = os.pidfd_open(self._current.pid)
        self._attempts.append(
            {"path": self._path, "first_byte": first, "started_s": self._elapsed_s(), "name": name}
        )

    def _first_missing(self) -> int:
        """Return the byte from which to ask; a server has no part behind the file's end."""
        if not self._image.exists():
            return 0
        last = self._plan["size_bytes"] - 1
        if self._image.stat().st_size > last:
            os.truncate(self._image, last)
        return self._image.stat().st_size

    def _curl_argv(self, first_byte: int) -> list[str]:
        origin, proxy = self._plan["origin"], self._plan["proxy"]
        bound = ["--interface", self._source()] if self._path is not None else []
        return [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--proxy",
            f"http://{proxy['address']}:{proxy['port']}",
            *bound,
            *(["--continue-at", str(first_byte)] if first_byte else []),
            "--output",
            str(self._image),
            "--write-out",
            "%{json}",
            f"http://{origin['address']}:{origin['port']}{FILE_PATH}",
        ]

    def _source(self) -> str:
        assert self._path is not None and self.address_of is not None
        return self.address_of(self._path)

    def watched(self) -> list[int]:
        """Return the descriptor of the current attempt."""
        return [self._pidfd] if self._pidfd >= 0 else []

    def is_done(self) -> bool:
        """Say whether the file is there, or will never be."""
        if self._current is None or self._current.returncode is None:
            return False
        status = self._current.returncode
        if self._is_waiting:
            self._close_pidfd()
            self._current.stop()
            self._attempt()
            return False
        self._end_attempt()
        if status == 0 or not self._plan["is_resumed"]:
            return True
        self._wait_before_retry()
        return False

    def _wait_before_retry(self) -> None:
        self._current = self._start_process(self._plan["client"], ["sleep", str(RETRY_S)], "pause")
        self._is_waiting = True
        self._pidfd = os.pidfd_open(self._current.pid)

    def after_change(self, change: dict[str, Any]) -> None:
        """Change to another path, or wait for one."""
        if change["change"] != "use_path" or self._has_succeeded():
            return
        self._end_attempt()
        self._path = change["path"]
        if self._path is not None:
            self._attempt()

    def _has_succeeded(self) -> bool:
        """Say whether the file has come whole, which the runner is about to ask."""
        is_running = self._current is not None and not self._is_waiting
        return is_running and self._current is not None and self._current.returncode == 0

    def _end_attempt(self) -> None:
        self._close_pidfd()
        if self._current is None:
            return
        was_cut = self._current.returncode is None
        status = self._current.stop()
        self._current = None
        if self._is_waiting:
            self._is_waiting = False
            return
        self._attempts[-1] |= {
            "ended_s": self._elapsed_s(),
            "exit_status": None if was_cut else status,
        }

    def _close_pidfd(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _elapsed_s(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9

    def result(self) -> dict[str, Any]:
        """Say how the download ended: exit status, and size and hash of what has arrived."""
        self._end_attempt()
        received = self._image.stat().st_size if self._image.exists() else 0
        client = self._plan["client"]
        last = self._attempts[-1] if self._attempts else {}
        return {
            "exit_status": last.get("exit_status"),
            "size_bytes": received,
            "sha256": _file_sha256(self._image) if received else None,
            "attempts": self._attempts,
            "curl": _curl_report(self._raw / f"{client}.{last.get('name', 'curl')}.out"),
            "squid_said": _last_line(self._raw / f"{self._plan['proxy']['node']}.squid.err"),
        }


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _curl_report(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return report


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else ""
