# SPDX-License-Identifier: Apache-2.0
"""Generic netlink family MAC80211_HWSIM: simulated radios, and the air between them.

The air is the testbed's own addition to the driver; its structures are those of
kernel/modules/drivers/net/wireless/virtual/mac80211_hwsim_air.h.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from testbed.netlink.generic import GENL, NETLINK_GENERIC, find_family
from testbed.netlink.message import (
    NLM_F_ACK,
    NetlinkSocket,
    attr,
    message,
    split_attrs,
    split_messages,
    text,
    u32,
)

MISSING = "this kernel has no simulated radios; use the lab, and build its kernel anew"

# drivers/net/wireless/virtual/mac80211_hwsim.h
NEW_RADIO = 4
SET_AIR = 12
GET_AIR = 13
TUNE = 14
ATTR_CHANNELS = 9
ATTR_RADIO_ID = 10
ATTR_REG_CUSTOM_REG = 12
ATTR_RADIO_NAME = 17
ATTR_NO_VIF = 18
ATTR_FREQ = 19
ATTR_AIR = 32

# Of a radio between two channels, and of one that hears all its channels.
NOWHERE, EVERYWHERE = 1, 0

# Regulatory domain 0 of the driver's own: channels 1 to 11 and 36 to 48 and 149 to 165, all of
# them for active scans and access points. Without one nobody may send on 5 GHz.
REGULATORY_DOMAIN = 0

RATE_UNLIMITED = 2**64 - 1
MAX_LOSS = 2**32 - 1

_SETTING = struct.Struct("=IIiIQIIQ")
_COUNT = struct.Struct("=II11Q")
COUNT_NAMES = (
    "dropped_full",
    "dropped_loss",
    "dropped_down",
    "delivered_bytes",
    "packets",
    "max_backlog",
    "busy_ns",
    "backlog",
    "unacknowledged",
    "dropped_gone",
    "missed",
)


class Hearing(NamedTuple):
    """How one radio hears another.

    Attributes:
        sender, receiver: numbers of the radios.
        signal_dbm: at the receiver.
        is_up: False: it hears nothing.
        rate_bps: bit/s of IP packets; 0 sends no data.
        queue_bytes: limit of the sender's queue.
        loss_fraction: of data frames, after all retries.
        loss_seed: of these losses.
    """

    sender: int
    receiver: int
    signal_dbm: int
    is_up: bool
    rate_bps: int
    queue_bytes: int
    loss_fraction: float = 0.0
    loss_seed: int = 0

    def packed(self) -> bytes:
        """Return it as the driver takes it."""
        rate = self.rate_bps if self.rate_bps == RATE_UNLIMITED else self.rate_bps // 8
        loss = min(round(self.loss_fraction * 2**32), MAX_LOSS)
        return _SETTING.pack(
            self.sender,
            self.receiver,
            self.signal_dbm,
            int(self.is_up),
            rate,
            self.queue_bytes,
            loss,
            self.loss_seed % 2**64,
        )


class Simulator:
    """The driver of the simulated radios, from the machine's first network namespace.

    Raises:
        PrerequisiteError: the kernel has none.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        self._family, _ = find_family(self._socket, "MAC80211_HWSIM", MISSING)

    def new_radio(self, name: str, channels: int = 1) -> int:
        """Make a radio without an interface and return its number.

        Args:
            name: that cfg80211 gives to its wiphy.
            channels: on which its interfaces can be at the same time.
        """
        body = u32(ATTR_CHANNELS, channels) + u32(ATTR_REG_CUSTOM_REG, REGULATORY_DOMAIN)
        body += text(ATTR_RADIO_NAME, name) + attr(ATTR_NO_VIF, b"")
        return self._request(NEW_RADIO, body, f"make the radio {name}")

    def set_air(self, hearings: Iterable[Hearing]) -> None:
        """Say how radios hear each other; those of whom nothing was said do not."""
        body = attr(ATTR_AIR, b"".join(one.packed() for one in hearings))
        self._request(SET_AIR, body, "change the air")

    def tune(self, radio: int, frequency_mhz: int) -> None:
        """Tune a radio that has several channels to one of them, or to NOWHERE in between.

        The access points of the channel that is left, or come to, hear of it by a null frame.
        """
        body = u32(ATTR_RADIO_ID, radio) + u32(ATTR_FREQ, frequency_mhz)
        self._request(TUNE, body, f"tune the radio {radio}")

    def counters(self) -> dict[tuple[int, int], dict[str, int]]:
        """Return what each radio has sent to each other one, by their numbers."""
        asked = message(self._family, NLM_F_ACK, GENL.pack(GET_AIR, 1, 0))
        return air_counters(self._family, self._socket.dump(asked))

    def _request(self, command: int, body: bytes, what: str) -> int:
        return self._socket.request(message(self._family, 0, GENL.pack(command, 1, 0) + body), what)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def air_counters(family: int, answer: bytes) -> dict[tuple[int, int], dict[str, int]]:
    """Return the counters of an answer to GET_AIR, by sender and receiver."""
    found = {}
    for kind, _, body in split_messages(answer):
        if kind != family:
            continue
        for sender, receiver, *values in _COUNT.iter_unpack(
            split_attrs(body[GENL.size :])[ATTR_AIR]
        ):
            found[sender, receiver] = dict(zip(COUNT_NAMES, values, strict=True))
    return found
