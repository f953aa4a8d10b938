# SPDX-License-Identifier: Apache-2.0
"""A NIC of the station: what it is told, what happens to it, and what that means for its paths."""

import contextlib
import re
import time
from collections.abc import Callable
from typing import Any

from testbed.emulation.wireless.control import Control
from testbed.errors import BackendError

# Association takes a few ms; a NIC that is told to associate before the run begins has scanned
# within seconds.
READY_TIMEOUT_S = 30.0
STEP_S = 0.02

CONNECTED = re.compile(r"CTRL-EVENT-CONNECTED - Connection to (\S+) completed")
DISCONNECTED = re.compile(r"CTRL-EVENT-DISCONNECTED bssid=(\S+) reason=(\d+)")
SCAN_BEGINS, SCAN_ENDS = "CTRL-EVENT-SCAN-STARTED", "CTRL-EVENT-SCAN-RESULTS"

# All entries of the table: address, level and age in whole seconds, each ended by "====".
FRESH = "BSS RANGE=ALL MASK=0x20282"

Write = Callable[[dict[str, Any]], None]


class Nic:
    """One interface of the station and its wpa_supplicant.

    Args:
        name: of the NIC.
        control: of its interface.
        aps: names of the access points by their address, in the order of the networks.
        write: takes down what happens.
    """

    def __init__(self, name: str, control: Control, aps: dict[str, str], write: Write) -> None:
        self.name = name
        self._control = control
        self._aps = aps
        self._networks = {ap: number for number, ap in enumerate(aps.values())}
        self._write = write
        self.ap: str | None = None
        self.wanted: str | None = None
        self.on_change: Callable[[Nic, str | None], None] | None = None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something happens."""
        return self._control.fileno()

    def associate(self, ap: str) -> None:
        """Associate with an access point, and with no other one.

        A NIC that has seen it within five seconds authenticates at once; others scan first.
        """
        self.wanted = ap
        self._note("told to associate", ap=ap)
        self._control.ask(f"SELECT_NETWORK {self._networks[ap]}")

    def choose(self) -> None:
        """Associate with the strongest access point that a scan finds."""
        self._note("told to choose")
        self._control.ask("ENABLE_NETWORK all")
        self._control.ask("REASSOCIATE")

    def stay(self, ap: str) -> None:
        """Let the NIC look for others when it loses its access point, and not before."""
        for name, number in self._networks.items():
            if name != ap:
                self._control.ask(f"ENABLE_NETWORK {number} no-connect")

    def leave(self) -> None:
        """Disassociate."""
        self.wanted = None
        self._note("told to leave", ap=self.ap)
        self._control.ask("DISCONNECT")

    def scan(self, frequency_mhz: int) -> None:
        """Look who is on a channel, for which the NIC leaves its own; not while it is looking."""
        with contextlib.suppress(BackendError):
            self._control.ask(f"SCAN freq={frequency_mhz}")

    def heard(self) -> list[dict[str, Any]]:
        """Return the access points of the scan that has just ended, with their signals."""
        found = []
        for entry in self._control.ask(FRESH).split("====\n"):
            said = dict(line.split("=", 1) for line in entry.splitlines() if "=" in line)
            # The table keeps for minutes what later scans did not hear.
            if said.get("bssid") in self._aps and said["age"] == "0":
                found.append({"ap": self._aps[said["bssid"]], "signal_dbm": int(said["level"])})
        return sorted(found, key=lambda one: str(one["ap"]))

    def take(self) -> None:
        """Act upon what has happened."""
        for event in self._control.events():
            if done := CONNECTED.match(event):
                self._change(self._aps.get(done[1], done[1]), "associated")
            elif lost := DISCONNECTED.match(event):
                self._change(None, "disassociated", reason=int(lost[2]))
            elif event.startswith(SCAN_BEGINS):
                self._note("scan begins")
            elif event.startswith(SCAN_ENDS):
                self._note("scan ends", heard=self.heard())

    def wait_until_associated(self) -> bool:
        """Return whether the NIC is associated, after some time if need be."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        self.take()
        while self.ap is None and time.monotonic() < deadline:
            time.sleep(STEP_S)
            self.take()
        return self.ap is not None

    def close(self) -> None:
        """Stop listening."""
        self._control.close()

    def _change(self, ap: str | None, what: str, **more: Any) -> None:
        before, self.ap = self.ap, ap
        self._note(what, ap=ap or before, **more)
        if self.on_change is not None:
            self.on_change(self, before)

    def _note(self, what: str, **more: Any) -> None:
        self._write({"nic": self.name, "what": what, **more})
