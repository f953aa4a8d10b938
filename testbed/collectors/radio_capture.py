# SPDX-License-Identifier: Apache-2.0
"""What is said on the air, whatever the channel, into raw/radio.pcap: management frames but
beacons, null frames (power save), and the handshake of WPA.

The interface hwsim0 shows all frames of all simulated radios. Data frames are left out: those
are in the captures of the nodes' interfaces.
"""

import os
import socket
from pathlib import Path

from testbed.collectors.pcap import tcpdump_argv
from testbed.emulation.namespace import OWN_NAMESPACE, Namespace
from testbed.errors import PrerequisiteError
from testbed.netlink import route
from testbed.netlink.message import NetlinkSocket
from testbed.process import Background

INTERFACE = "hwsim0"
SNAP_BYTES = 256
FRAMES = "(type mgt and not subtype beacon) or subtype null or ether proto 0x888e"


def start_radio_capture(raw: Path) -> Background:
    """Start the capture, from the machine's first network namespace.

    Raises:
        PrerequisiteError: the kernel has no simulated radios.
    """
    try:
        index = socket.if_nametoindex(INTERFACE)
    except OSError:
        raise PrerequisiteError(
            f"this kernel has no {INTERFACE}; use the lab, and build its kernel anew"
        ) from None
    with NetlinkSocket(socket.NETLINK_ROUTE) as rtnl:
        rtnl.request(route.link_up(index), f"bring up {INTERFACE}")
    home = Namespace(os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
    try:
        return Background(
            [*tcpdump_argv(INTERFACE, raw / "radio.pcap", SNAP_BYTES), FRAMES],
            stdout_path=raw / "radio.tcpdump.out",
            stderr_path=raw / "radio.tcpdump.txt",
            prepare=home.enter,
        )
    finally:
        home.close()
