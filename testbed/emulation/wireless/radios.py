# SPDX-License-Identifier: Apache-2.0
"""Radios of mac80211_hwsim, their interfaces, and the namespaces that they live in."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from testbed.emulation.namespace import Namespace
from testbed.errors import PrerequisiteError
from testbed.netlink.hwsim import Simulator
from testbed.netlink.nl80211 import IFTYPE_AP as IFTYPE_AP
from testbed.netlink.nl80211 import IFTYPE_STATION as IFTYPE_STATION
from testbed.netlink.nl80211 import Wireless

# What mac80211_hwsim makes at most when its module is loaded.
MAX_RADIOS = 100

CLASS = Path("/sys/class/ieee80211")
INTERFACES = Path("/sys/class/net")


class Radio(NamedTuple):
    """A radio.

    Attributes:
        name: of its wiphy.
        number: as the simulator counts.
        wiphy: its number as cfg80211 counts.
    """

    name: str
    number: int
    wiphy: int


def check_number(wanted: int) -> None:
    """Refuse more radios than the simulator has.

    Raises:
        PrerequisiteError: it does not have so many.
    """
    if wanted > MAX_RADIOS:
        raise PrerequisiteError(
            f"the kernel simulates {MAX_RADIOS} radios, the experiment needs {wanted}, one for "
            "each access point and each NIC; take fewer access points"
        )


def make_radio(
    simulator: Simulator, wireless: Wireless, name: str, namespace: Namespace, channels: int = 1
) -> Radio:
    """Make a radio and move it to a namespace.

    Args:
        simulator, wireless: both of the namespace in which the calling thread is.
        name: of its wiphy.
        namespace: where it goes.
        channels: on which its interfaces can be at the same time.
    """
    number = simulator.new_radio(name, channels)
    wiphy = int((CLASS / name / "index").read_text())
    wireless.move_radio(wiphy, namespace.fd)
    return Radio(name, number, wiphy)


def mac_of(radio: Radio, interface: int = 0) -> bytes:
    """Return the address of an interface, by which the air knows its radio."""
    return bytes((2, 0, 0, radio.number >> 8, radio.number & 0xFF, interface))


def mac_text(mac: bytes) -> str:
    """Return an address as it is written."""
    return mac.hex(":")


def make_interfaces(radio: Radio, namespace: Namespace, names: Iterable[str], kind: int) -> None:
    """Make the interfaces of a radio that is in a namespace, one for each name."""
    with namespace.inside():
        wireless = Wireless()
    for place, name in enumerate(names):
        wireless.new_interface(radio.wiphy, name, kind, mac_of(radio, place))
    wireless.close()
