# SPDX-License-Identifier: Apache-2.0
"""A download of known size past a middlebox that interferes with MPTCP.

What nftables can do it does; the rest is done by a program to which it hands the packets
(interference_host.py). Ends and records are those of the workload `middlebox`.
"""

from contextlib import ExitStack
from pathlib import Path

from testbed.emulation.mptcp import add_endpoints
from testbed.errors import CommandError
from testbed.process import ending, quoted_tail
from testbed.workloads.base import Stage
from testbed.workloads.middlebox import MiddleboxWorkload

QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
PROGRAM = "interference"


class InterferenceWorkload(MiddleboxWorkload):
    """The two ends of the download, and the middlebox."""

    def start_servers(self, stack: ExitStack) -> None:
        """Start both ends, and then the middlebox's program if there is one."""
        add_endpoints(self._network, self._plan["announced"])
        super().start_servers(stack)
        if self._plan["act"] is not None:
            spec = {"node": self._plan["middlebox"], "act": self._plan["act"]}
            self._programs.start(PROGRAM, "interference_host", spec, stack)
            self._programs.wait_until_ready([PROGRAM])

    def prepare(self, stage: Stage) -> None:
        """Leave the transfer alone: it ends with its last byte."""

    def stop(self) -> None:
        """Cut off what goes on, and write what the middlebox counted.

        Raises:
            CommandError: the middlebox's program has ended.
        """
        super().stop()
        host = self._programs.processes.get(PROGRAM)
        if host is None:
            return
        with self._network.nodes[self._plan["middlebox"]].namespace.inside():
            (self._raw / "m.nfqueue.txt").write_bytes(QUEUES.read_bytes())
        if host.returncode is not None:
            said = host.stderr_path.read_text(errors="replace")
            raise CommandError(f"the middlebox {ending(host.returncode)}{quoted_tail(said)}")
