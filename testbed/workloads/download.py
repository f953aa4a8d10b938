# SPDX-License-Identifier: Apache-2.0
"""A download through a proxy: an origin web server, Squid over MPTCP, and curl over MPTCP.

mptcpize makes the sockets of Squid and curl MPTCP sockets; the origin speaks plain TCP.
"""

import hashlib
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.process import Background
from testbed.workloads.origin import FILE_PATH

TOOLS = ("curl", "mptcpize", "squid")
SQUID_CONF = "squid.conf"
READY_TIMEOUT_S = 30.0
TCP_LISTEN = "0A"


class DownloadWorkload:
    """The three programs of one download.

    Args:
        workload: client, proxy, origin, their addresses and ports, the file's size, seed and
            hash, and the rendered squid.conf, from run.json.
        network: where they run.
        raw: folder for what they write.
    """

    def __init__(self, workload: dict[str, Any], network: Network, raw: Path) -> None:
        self._workload = workload
        self._network = network
        self._raw = raw
        self._scratch = Path("/tmp/download")
        self._curl: Background | None = None

    def start_servers(self, stack: ExitStack) -> None:
        """Start origin and proxy and return when both listen."""
        self._scratch.mkdir(mode=0o777)
        self._scratch.chmod(0o777)  # Squid gives its privileges up
        (self._scratch / SQUID_CONF).write_text(self._workload["squid_conf"])
        origin, proxy = self._workload["origin"], self._workload["proxy"]
        self._serve(stack, origin, self._origin_argv())
        conf = str(self._scratch / SQUID_CONF)
        self._serve(stack, proxy, ["mptcpize", "run", "squid", "-N", "-d", "1", "-f", conf])

    def _origin_argv(self) -> list[str]:
        origin = self._workload["origin"]
        numbers = [origin["port"], self._workload["size_bytes"], self._workload["seed"]]
        module = "testbed.workloads.origin"
        return [
            sys.executable,
            "-S",
            "-s",
            "-P",
            "-m",
            module,
            origin["address"],
            *map(str, numbers),
        ]

    def _serve(self, stack: ExitStack, server: dict[str, Any], argv: list[str]) -> None:
        name = server["node"]
        process = stack.enter_context(self._start(name, argv))
        namespace = self._network.nodes[name].namespace

        def is_listening() -> bool:
            with namespace.inside():
                return listens(Path("/proc/thread-self/net/tcp").read_text(), server["port"])

        process.wait_until(is_listening, timeout_s=READY_TIMEOUT_S)

    def _start(self, node: str, argv: list[str]) -> Background:
        tool = Path(argv[0]).name if argv[0] != "mptcpize" else argv[2]
        tool = "origin" if node == self._workload["origin"]["node"] else tool
        return Background(
            argv,
            stdout_path=self._raw / f"{node}.{tool}.out",
            stderr_path=self._raw / f"{node}.{tool}.err",
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            prepare=self._network.nodes[node].namespace.enter,
        )

    def start(self, stack: ExitStack) -> Background:
        """Start the download itself and return its process."""
        origin, proxy = self._workload["origin"], self._workload["proxy"]
        self._curl = stack.enter_context(
            self._start(
                self._workload["client"],
                [
                    "mptcpize",
                    "run",
                    "curl",
                    "--silent",
                    "--show-error",
                    "--fail",
                    "--proxy",
                    f"http://{proxy['address']}:{proxy['port']}",
                    "--output",
                    str(self._scratch / "image"),
                    "--write-out",
                    "%{json}",
                    f"http://{origin['address']}:{origin['port']}{FILE_PATH}",
                ],
            )
        )
        return self._curl

    def result(self) -> dict[str, Any]:
        """Say how the download ended: exit status, and size and hash of what has arrived."""
        assert self._curl is not None
        image = self._scratch / "image"
        received = image.stat().st_size if image.exists() else 0
        return {
            "exit_status": self._curl.returncode,
            "size_bytes": received,
            "sha256": _file_sha256(image) if received else None,
            "curl": _curl_report(self._raw / f"{self._workload['client']}.curl.out"),
            "squid_said": _last_line(self._raw / f"{self._workload['proxy']['node']}.squid.err"),
        }


def listens(proc_net_tcp: str, port: int) -> bool:
    """Say whether /proc/net/tcp shows a listening socket on a port."""
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if fields[3] == TCP_LISTEN and int(fields[1].partition(":")[2], 16) == port:
            return True
    return False


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _curl_report(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        return {}
    return report


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return lines[-1] if lines else ""
