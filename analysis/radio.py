# SPDX-License-Identifier: Apache-2.0
"""Runs with real radios: did the station associate, by its own word and by that of others?"""

from typing import Any

from analysis.parse.radio import RadioEvidence
from analysis.reasons import Reason, invalid
from analysis.tables import Frames

REAL_RADIOS = "mac80211"


def has_radios(run: dict[str, Any]) -> bool:
    """Say whether there were radios in a run, and not only links like theirs."""
    return bool((run.get("radio") or {}).get("level") == REAL_RADIOS)


def ap_addresses(run: dict[str, Any]) -> dict[str, str]:
    """Return the address of each access point; radios are counted in the order of the plan."""
    aps = [ap["name"] for ap in run["radio"]["aps"]]
    return {name: f"02:00:00:{n >> 8:02x}:{n & 255:02x}:00" for n, name in enumerate(aps)}


def check_radio(frames: Frames) -> list[Reason]:
    """Each association is in the capture of the air and in the logs of both ends."""
    if not has_radios(frames.run):
        return []
    evidence = frames.radio
    associated = {(one["nic"], one["ap"]) for one in evidence.log if one["what"] == "associated"}
    if not associated:
        return [invalid("radio", "no NIC of the station was ever associated")]
    return [
        *_check_associations(frames.run, evidence, associated),
        *_check_use(frames, associated),
        *_check_slots(frames.run, evidence),
    ]


def _check_associations(
    run: dict[str, Any], evidence: RadioEvidence, associated: set[tuple[str, str]]
) -> list[Reason]:
    addresses, found = ap_addresses(run), []
    accepted = {one.ap for one in evidence.acceptances if one.status == 0}
    for nic, ap in sorted(associated):
        where = {
            "radio.pcap": addresses[ap] in accepted,
            f"{ap}.hostapd.txt": "AP-STA-CONNECTED" in evidence.access_points.get(ap, ""),
            f"{nic}.wpa_supplicant.txt": f"Connection to {addresses[ap]} completed"
            in evidence.nics.get(nic, ""),
        }
        if absent := [name for name, is_there in where.items() if not is_there]:
            message = f"the association of {nic} with {ap} is not in {' and '.join(absent)}"
            found.append(invalid("radio", message, nic=nic, ap=ap, absent=absent))
    return found


def _check_use(frames: Frames, associated: set[tuple[str, str]]) -> list[Reason]:
    found = []
    for one in frames.run["radio"]["links"]:
        seen = frames.received(one["path"])
        if (one["nic"], one["ap"]) in associated or seen is None:
            continue
        message = f"packets came by {one['path']}, whose NIC was never associated there"
        found.append(invalid("radio", message, path=one["path"]))
    return found


def _check_slots(run: dict[str, Any], evidence: RadioEvidence) -> list[Reason]:
    """A NIC that takes turns told its access points each time that it went to sleep."""
    slots = run["radio"].get("slots")
    if not slots or not any(len(epoch["cycle"]) > 1 for epoch in slots["epochs"]):
        return []
    if evidence.asleep:
        return []
    return [invalid("radio", "no null frame told an access point that the station sleeps")]
