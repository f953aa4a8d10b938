# SPDX-License-Identifier: Apache-2.0
"""A download of known size past a middlebox that interferes with MPTCP.

What nftables can do it does; the rest is done by a program to which it hands the packets
(interference_host.py). Ends and records are those of the workload `middlebox`.
"""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from testbed.emulation.mptcp import add_endpoints
from testbed.errors import CommandError
from testbed.process import Background, ending, quoted_tail
from testbed.workloads.base import Stage
from testbed.workloads.middlebox import (
    PACKAGE_FOLDER,
    READY,
    READY_TIMEOUT_S,
    MiddleboxWorkload,
)

QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")


class InterferenceWorkload(MiddleboxWorkload):
    """The two ends of the download, and the middlebox."""

    def start_servers(self, stack: ExitStack) -> None:
        """Start both ends, and then the middlebox's program if there is one."""
        add_endpoints(self._network, self._plan["announced"])
        super().start_servers(stack)
        self._host: Background | None = None
        if self._plan["act"] is not None:
            self._start_host(stack)

    def _start_host(self, stack: ExitStack) -> None:
        file = self._scratch / "act.json"
        file.write_text(json.dumps(self._plan["act"]))
        host = Background(
            [sys.executable, "-S", "-s", "-P", "-m", "testbed.workloads.interference_host",
             str(file)],
            stdout_path=self._scratch / "host.out",
            stderr_path=self._raw / "interference.err",
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            prepare=self._network.nodes[self._plan["middlebox"]].namespace.enter,
        )  # fmt: skip
        self._host = stack.enter_context(host)
        host.wait_until(
            lambda: host.stdout_path.read_bytes().startswith(READY), timeout_s=READY_TIMEOUT_S
        )

    def prepare(self, stage: Stage) -> None:
        """Note the time at which the run begins; the transfer ends with its last byte."""
        self._start_ns = stage.start_ns

    def stop(self) -> None:
        """Cut off what goes on, and write what the middlebox counted.

        Raises:
            CommandError: the middlebox's program has ended.
        """
        super().stop()
        if self._host is None:
            return
        with self._network.nodes[self._plan["middlebox"]].namespace.inside():
            (self._raw / "m.nfqueue.txt").write_bytes(QUEUES.read_bytes())
        if self._host.returncode is not None:
            said = self._host.stderr_path.read_text(errors="replace")
            raise CommandError(f"the middlebox {ending(self._host.returncode)}{quoted_tail(said)}")
