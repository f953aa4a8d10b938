# SPDX-License-Identifier: Apache-2.0
"""What the runner asks of a workload: servers that are ready, a start at an exact time, an end."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from testbed.emulation.mptcp import MultipathClient
from testbed.emulation.network import Network
from testbed.emulation.path_manager import ScriptedPathManager
from testbed.timetable import Timetable


@dataclass(frozen=True)
class Stage:
    """What a workload needs that changes the network itself.

    Attributes:
        timetable: of the run, which begins at start_ns of the monotonic clock.
        client: the node with paths.
        manager: who manages its paths in userspace, if anybody does.
        change: carries out a change of the network now, and has it recorded.
    """

    timetable: Timetable
    start_ns: int
    client: MultipathClient
    manager: ScriptedPathManager | None
    change: Callable[[dict[str, Any]], None]


class Workload(ABC):
    """One workload of one run.

    Args:
        plan: "workload" of run.json.
        network: the live network.
        raw: folder for what its programs write.
    """

    # Commands it needs on the target; the runner refuses to start without them.
    tools: ClassVar[tuple[str, ...]] = ()

    # The client's address on a path at this time; given by the runner.
    address_of: Callable[[str], str] | None = None

    def __init__(self, plan: dict[str, Any], network: Network, raw: Path) -> None:
        self._plan = plan
        self._network = network
        self._raw = raw

    @abstractmethod
    def start_servers(self, stack: ExitStack) -> None:
        """Start the serving side and return when there is evidence that it is ready.

        Args:
            stack: ends with the run; the undo of everything started is pushed on it.
        """

    @abstractmethod
    def start(self, stack: ExitStack) -> None:
        """Start the traffic; called at time 0 of the run."""

    def prepare(self, stage: Stage) -> None:  # noqa: B027  # most leave the network alone
        """Enter own times into the timetable; called before the run begins."""

    @abstractmethod
    def watched(self) -> list[int]:
        """Return file descriptors that become readable when a part of it has ended."""

    @abstractmethod
    def is_done(self) -> bool:
        """Say whether all of it has ended; called when a watched descriptor is readable."""

    def after_change(self, change: dict[str, Any]) -> None:  # noqa: B027  # most need not react
        """React to a timed change of the network, as an application would that was told of it."""

    def stop(self) -> None:  # noqa: B027  # most have nothing to stop
        """Stop what counts, now: the run has ended."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Return plain data about how it ended, with "exit_status" (None: it had not ended)."""
