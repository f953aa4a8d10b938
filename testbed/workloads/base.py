# SPDX-License-Identifier: Apache-2.0
"""What the runner asks of a workload: servers that are ready, a start at an exact time, an end."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from testbed.emulation.network import Network


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
