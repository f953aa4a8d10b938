# SPDX-License-Identifier: Apache-2.0
"""The programs of a workload, each in the namespace of its node, and the two ends of a transfer."""

import json
import os
import select
import signal
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from testbed.emulation.network import Network
from testbed.errors import CommandError
from testbed.process import Background, ending, quoted_tail

READY = b"ready"
READY_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 60.0
PACKAGE_FOLDER = Path(__file__).parents[2]


class Programs:
    """Programs of ours that say when they are ready and write down how they ended.

    Args:
        kind: of the workload, for the names of files.
        network: the live network.
        raw: folder for what they complain about.
    """

    def __init__(self, kind: str, network: Network, raw: Path) -> None:
        self._kind = kind
        self._network = network
        self._raw = raw
        self.processes: dict[str, Background] = {}
        # Becomes readable when a program ends that is waited for, or with what is added to it.
        self.ended = select.epoll()

    def open(self, stack: ExitStack) -> None:
        """Make room for specifications and results until the run ends."""
        prefix = f"{self._kind}-"
        self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        stack.callback(self.ended.close)

    def start(self, name: str, module: str, spec: dict[str, Any], stack: ExitStack) -> Background:
        """Start a program of this package on the node that its specification names."""
        file = self._scratch / f"{name}.spec.json"
        file.write_text(json.dumps({**spec, "results": str(self._results(name))}))
        process = Background(
            [sys.executable, "-S", "-s", "-P", "-m", f"testbed.workloads.{module}", str(file)],
            stdout_path=self._scratch / f"{name}.out",
            stderr_path=self._raw / f"{self._kind}.{name}.err",
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            prepare=self._network.nodes[spec["node"]].namespace.enter,
        )
        self.processes[name] = stack.enter_context(process)
        return process

    def _results(self, name: str) -> Path:
        return self._scratch / f"{name}.json"

    def watch(self, name: str, stack: ExitStack) -> None:
        """Let `ended` become readable when a program ends."""
        fd = os.pidfd_open(self.processes[name].pid)
        stack.callback(os.close, fd)
        self.ended.register(fd, select.EPOLLIN)

    def wait_until_ready(self, names: Iterable[str]) -> None:
        """Return when each has said so."""
        for name in names:
            out = self.processes[name].stdout_path
            self.processes[name].wait_until(
                lambda out=out: out.read_bytes().startswith(READY),  # type: ignore[misc]
                timeout_s=READY_TIMEOUT_S,
            )

    def have_ended(self, names: Iterable[str]) -> bool:
        """Say whether programs have ended."""
        return all(self.processes[name].returncode is not None for name in names)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, unless the program has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.processes[name].pid, number)

    def cut_off(self, names: Iterable[str]) -> None:
        """Let ends of transfers write how far they came, and end.

        Raises:
            CommandError: one failed.
        """
        names = list(names)
        for name in names:
            self.signal(name, signal.SIGTERM)
        for name in names:
            self.processes[name].wait(timeout_s=STOP_TIMEOUT_S)
        self.check()

    def check(self) -> None:
        """See whether all that have ended did so as they should.

        Raises:
            CommandError: one failed.
        """
        for name, process in self.processes.items():
            if process.returncode:
                said = process.stderr_path.read_text(errors="replace")
                raise CommandError(f"the {name} {ending(process.returncode)}{quoted_tail(said)}")

    def transfer(self, flow: str, sender: str, receiver: str, client: str) -> dict[str, Any]:
        """Return what both ends say of a transfer.

        Args:
            flow: its name.
            sender, receiver: the programs.
            client: the one of them that knows whether it is MPTCP.
        """
        said = {name: json.loads(self._results(name).read_text()) for name in (sender, receiver)}
        sent, received = said[sender], said[receiver]
        return {
            "name": flow,
            "sent_bytes": sent["bytes"],
            "received_bytes": received["bytes"],
            "sent_sha256": sent["sha256"],
            "received_sha256": received["sha256"],
            "sender": sent["how"],
            "receiver": received["how"],
            "is_mptcp": said[client].get("is_mptcp"),
        }
