# SPDX-License-Identifier: Apache-2.0
"""The station of a run with radios: its access points, NICs and policy.

The plan says when the policy wants which NIC on which access point. What is said is done by
wpa_supplicant, with real frames, and takes the time that it takes; only DHCP is the configured
time, after the association. That an access point is lost the station finds out by itself. An
address comes and goes, with its endpoint, as in every other experiment (MultipathClient).
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from testbed.emulation.mptcp import MultipathClient
from testbed.emulation.wireless.control import Control
from testbed.emulation.wireless.daemons import (
    RUN_DIR,
    control_path,
    hostapd_text,
    start_hostapd,
    start_supplicant,
    supplicant_text,
    wait_until_enabled,
)
from testbed.emulation.wireless.network import WirelessNetwork
from testbed.emulation.wireless.nic import Nic
from testbed.emulation.wireless.radios import mac_of, mac_text
from testbed.emulation.wireless.slots import Slots
from testbed.errors import PlanError
from testbed.timetable import Timetable

SINGLE_AP, FAST_HANDOVER = "single-ap", "fast-handover"
LOST = "lost"
# Why an access point is given up that still works, after it was a backup for some time.
GIVEN_UP = ("weak", "better")

Change = Callable[[dict[str, Any]], None]


class Station:
    """The station and the access points around it.

    Args:
        network: the live network.
        raw: folder for logs, configurations and radio.jsonl.
    """

    def __init__(self, network: WirelessNetwork, raw: Path) -> None:
        self._network, self._radio, self._raw = network, network.radio, raw
        self.air = network.air
        self._numbers = self._radio["policy_numbers"]
        self._paths = {(one["nic"], one["ap"]): one["path"] for one in self._radio["links"]}
        self._nics: dict[tuple[str, str | None], Nic] = {}
        self._log = (raw / "radio.jsonl").open("w")
        self._start_ns: int | None = None
        self._joined: dict[str, int] = defaultdict(int)  # how often a path's network was joined
        self._present: set[str] = set()
        self._untold: set[str] = set()  # lost, but there was nobody to say so to the server
        self._is_started = False
        self._slots: Slots | None = None

    # Before the run

    def start(self, stack: ExitStack) -> None:
        """Start the access points, and the station's NICs where they are at the start.

        Raises:
            PlanError: a NIC finds no access point that it should be on.
        """
        stack.callback(self._log.close)
        RUN_DIR.mkdir(exist_ok=True)
        self.air.set(0.0)
        started = [self._start_ap(stack, ap) for ap in self._radio["aps"]]
        for hostapd in started:
            wait_until_enabled(hostapd)
        for nic in self._radio["station"]["nics"]:
            self._start_nic(stack, nic)
        self._network.know_neighbours(
            {path["name"]: path["addresses"] for path in self._network.plain["paths"]}
        )
        for one in self._first():
            self._nic(one).associate(one["ap"])
        for one in self._first():
            if not self._nic(one).wait_until_associated():
                raise PlanError(
                    f"{one['nic']} could not associate with {one['ap']} before the start; "
                    "let the walk begin within the coverage of an access point"
                )
        if self._radio["policy"] == SINGLE_AP:
            for one in self._first():
                self._nic(one).stay(one["ap"])

    def _start_ap(self, stack: ExitStack, ap: dict[str, Any]) -> Any:
        text = hostapd_text(self._network.ap_interface(ap["name"]), ap)
        namespace = self._network.nodes[ap["name"]].namespace
        return stack.enter_context(start_hostapd(namespace, ap["name"], text, self._raw))

    def _start_nic(self, stack: ExitStack, name: str) -> None:
        interfaces = self._network.nic_interfaces(name)
        aps = self._radio["aps"]
        namespace, text = self._network.station.namespace, supplicant_text(aps)
        stack.enter_context(start_supplicant(namespace, name, interfaces, text, self._raw))
        known = {mac_text(mac_of(self._network.radios[ap["name"]])): str(ap["name"]) for ap in aps}
        for interface in interfaces:
            control = Control(control_path(interface), RUN_DIR / f"ours-{interface}")
            nic = Nic(name, control, known, self._write)
            stack.callback(nic.close)
            nic.on_change = self._changed
            only = self._ap_of(interface) if len(interfaces) > 1 else None
            self._nics[name, only] = nic

    def _ap_of(self, link: str) -> str:
        return next(str(one["ap"]) for one in self._radio["links"] if one["link"] == link)

    def _nic(self, one: dict[str, Any]) -> Nic:
        """Return the interface that an association is of."""
        return self._nics.get((one["nic"], one["ap"])) or self._nics[one["nic"], None]

    def _first(self) -> list[dict[str, Any]]:
        return [one for one in self._radio["associations"] if one["at_s"] <= 0]

    def paths_at_start(self) -> list[str]:
        """Return the paths on which the station is associated when the run begins."""
        return [self._paths[one["nic"], one["ap"]] for one in self._first()]

    # During the run

    @property
    def listeners(self) -> list[Nic]:
        """What becomes readable when something happens to a NIC."""
        return [*self._nics.values()]

    def enter(
        self, timetable: Timetable, start_ns: int, client: MultipathClient, change: Change
    ) -> None:
        """Enter what the plan wants into the run's timetable.

        Args:
            client: the node whose addresses come and go with the associations.
            change: carries out a change of the network, and has it recorded.
        """
        self._timetable, self._start_ns = timetable, start_ns
        self._client, self._carry_out = client, change
        self._present = {*self.paths_at_start()}
        self._is_started = True
        self.air.enter(timetable, start_ns)
        for one in self._radio["associations"]:
            if one["at_s"] > 0:
                at_ns = start_ns + round(max(0.0, one["at_s"] - self._lead_s(one)) * 1e9)
                timetable.at(at_ns, partial(self._want, one))
                if self._is_drained(one):
                    at_ns = start_ns + round(max(0.0, one["at_s"] - self._drain_s()) * 1e9)
                    timetable.at(at_ns, partial(self._drain, one))
        self._enter_scans(timetable, start_ns)
        if self._radio["slots"]:
            self._gate = (self._raw / "gate.jsonl").open("w")
            self._slots = self._make_slots()
            self._slots.start(timetable, start_ns)

    def _enter_scans(self, timetable: Timetable, start_ns: int) -> None:
        """Enter the background scans, of one channel each and of all channels by turns."""
        channels = sorted({ap["frequency_mhz"] for ap in self._radio["aps"]})
        for number, (begin_s, _, name) in enumerate(self._radio["scans"]):
            call = partial(self._scan, name, channels[number % len(channels)])
            timetable.at(start_ns + round(begin_s * 1e9), call)

    def _scan(self, name: str, frequency_mhz: int) -> None:
        """Scan a channel, unless the NIC is on it by turns and hears its beacons then.

        A frame that it sent there out of its turn would tell the access point that it is awake.
        """
        nics = [nic for (one, _), nic in self._nics.items() if one == name]
        if not (self._slots and any(self._is_on(nic, frequency_mhz) for nic in nics)):
            nics[0].scan(frequency_mhz)

    def _is_on(self, nic: Nic, frequency_mhz: int) -> bool:
        return any(
            ap["name"] in (nic.ap, nic.wanted) and ap["frequency_mhz"] == frequency_mhz
            for ap in self._radio["aps"]
        )

    def release(self) -> None:
        """Let the NIC hear all its channels: the run has ended, and what waits is to arrive."""
        if self._slots is not None:
            self._slots.end()
            self._gate.close()

    def _make_slots(self) -> Slots:
        plan = self._radio["slots"]
        frequencies = {ap["name"]: ap["frequency_mhz"] for ap in self._radio["aps"]}
        of_link = {one["link"]: frequencies[one["ap"]] for one in self._radio["links"]}
        radio = self._network.radios[plan["nic"]]
        return Slots(self._network.simulator, radio, of_link, plan, self._carried, self._show)

    def _show(self, links: list[str]) -> None:
        """Take down which links are open, as the level gate does."""
        t_s = max(0, time.monotonic_ns() - (self._start_ns or 0)) / 1e9  # 0: before the start
        self._gate.write(json.dumps({"t_s": t_s, "open": links}) + "\n")

    def _carried(self, link: str) -> int:
        ways = self._network.air.counters()[link]
        return ways["up"]["packets"] + ways["down"]["packets"]

    def _lead_s(self, one: dict[str, Any]) -> float:
        """Return how long before an access point is to be usable the NIC begins to want it."""
        if not one["is_on"]:
            return 0.0
        # The plan's scans find what is in range when they end: then the stack begins its own.
        return float(self._numbers["association_s"] + self._dhcp_s())

    def _dhcp_s(self) -> float:
        """Return how long an address takes; one who hands over has it before it leaves."""
        return 0.0 if self._radio["policy"] == FAST_HANDOVER else float(self._numbers["dhcp_s"])

    def _want(self, one: dict[str, Any]) -> None:
        """Do what the policy wants now.

        A station with the policy single-ap stays until its stack has lost the access point, and
        then wpa_supplicant chooses. Nobody is told of a loss: it shows; but a NIC that is on
        several channels by turns gives up by the plan whom it does not visit any more, because
        for the stack such a one is asleep, not lost.
        """
        nic = self._nic(one)
        if self._radio["policy"] == SINGLE_AP:
            return
        if one["is_on"]:
            nic.associate(one["ap"])
        elif nic.wanted != one["ap"]:
            return
        elif one["why"] != LOST:
            nic.leave()
        elif self._slots:
            self._note_missed(nic, "gives up unheard", one["ap"])
            nic.leave()

    def _note_missed(self, nic: Nic, what: str, ap: str) -> None:
        """Take down how many frames the access point has sent to the NIC on another channel.

        One that is out of range does not hear that it is given up, and sends when it is back.
        """
        missed = self._network.air.counters()[self._paths[nic.name, ap]]["down"]["missed"]
        self._write({"nic": nic.name, "what": what, "ap": ap, "missed": missed})

    def _drain_s(self) -> float:
        return float(self._numbers["drain_s"])

    def _is_drained(self, one: dict[str, Any]) -> bool:
        """Say whether a path is a backup before it goes; who has one radio has left it by then."""
        is_given_up = not one["is_on"] and one["why"] in GIVEN_UP and self._drain_s() > 0
        return is_given_up and self._radio["policy"] not in (SINGLE_AP, FAST_HANDOVER)

    def _drain(self, one: dict[str, Any]) -> None:
        """Let what waits for the station arrive before it leaves, and no more come."""
        path = self._paths[one["nic"], one["ap"]]
        if path in self._present:
            self._carry_out({"change": "endpoint_backup", "path": path, "is_backup": True})

    def _changed(self, nic: Nic, before: str | None) -> None:
        """Follow an association: the address comes after DHCP, and goes with the association."""
        if not self._is_started:
            return
        if before is not None and before != nic.ap:
            self._gone(self._paths[nic.name, before])
        if nic.ap is not None:
            at_ns = time.monotonic_ns() + round(self._dhcp_s() * 1e9)
            path = self._paths[nic.name, nic.ap]
            if self._slots is not None:
                self._note_missed(nic, "is known again", nic.ap)
                self._slots.joined(path)
            self._timetable.at(at_ns, partial(self._configured, nic, nic.ap, path))
        elif self._radio["policy"] == SINGLE_AP:
            nic.choose()

    def _gone(self, path: str) -> None:
        """Take the address of a path away, when another subflow can tell the server so."""
        if path not in self._present:
            return
        if self._slots and self._present == {path}:
            self._untold.add(path)
            return
        self._present.discard(path)
        self._carry_out({"change": "address_gone", "path": path})

    def _tell(self) -> None:
        """Take away the addresses that are lost, now that there is another subflow."""
        waiting, self._untold = self._untold, set()
        for path in sorted(waiting):
            self._gone(path)

    def _configured(self, nic: Nic, ap: str, path: str) -> None:
        """Take an address, if the NIC is still where it was when it asked for one."""
        if path in self._untold:
            self._untold.discard(path)
            self._present.discard(path)
            self._carry_out({"change": "address_gone", "path": path})
        if nic.ap != ap or path in self._present:
            return
        described = next(one for one in self._network.plain["paths"] if one["name"] == path)
        addresses = described["addresses"]
        self._joined[path] += 1
        address = addresses[min(self._joined[path], len(addresses) - 1)]
        self._present.add(path)
        self._carry_out(
            {"change": "address_back", "path": path, "address": address, "flags": ["subflow"]}
        )
        if self._untold:
            at_ns = time.monotonic_ns() + round(float(self._numbers["join_s"]) * 1e9)
            self._timetable.at(at_ns, self._tell)

    def _write(self, what: dict[str, Any]) -> None:
        t_s = None
        if self._start_ns is not None:
            t_s = (time.monotonic_ns() - self._start_ns) / 1e9
        self._log.write(json.dumps({"t_s": t_s, **what}) + "\n")
        self._log.flush()
