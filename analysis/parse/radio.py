# SPDX-License-Identifier: Apache-2.0
"""Read a capture of the air: which access point accepted which station, and when.

The frames are those of IEEE 802.11-2020, section 9.3.3, behind a radiotap header.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from analysis.parse.records import RECORD_HEADER_BYTES, iter_starts, read_file_header
from testbed.errors import RunInvalid

LINKTYPE_RADIOTAP = 127
MANAGEMENT, DATA = 0, 2
ASSOCIATION_RESPONSE, REASSOCIATION_RESPONSE, NULL = 1, 3, 4
HEADER_BYTES = 24
POWER_MANAGEMENT = 0x1000


class Acceptance(NamedTuple):
    """An access point's answer to a station that asked to associate.

    Attributes:
        t_ns: Unix time.
        ap, station: their addresses.
        status: 0: accepted.
    """

    t_ns: int
    ap: str
    station: str
    status: int


class AirFrames(NamedTuple):
    """What a capture of the air holds.

    Attributes:
        acceptances: answers to association and reassociation requests.
        asleep, awake: number of null frames with, and without, the power management bit.
    """

    acceptances: list[Acceptance]
    asleep: int
    awake: int


@dataclass(frozen=True)
class RadioEvidence:
    """What the target wrote down of the air.

    Attributes:
        log: radio.jsonl.
        acceptances: association responses in radio.pcap.
        access_points: logs of hostapd, nics: logs of wpa_supplicant, by name.
        asleep: null frames with the power management bit.
    """

    log: list[dict[str, Any]] = field(default_factory=list)
    acceptances: list[Acceptance] = field(default_factory=list)
    access_points: dict[str, str] = field(default_factory=dict)
    nics: dict[str, str] = field(default_factory=dict)
    asleep: int = 0


def parse_radio(raw: bytes) -> AirFrames:
    """Return what was said on the air.

    Raises:
        RunInvalid: the file is not a capture of 802.11 with radiotap headers.
    """
    data = np.frombuffer(raw, dtype=np.uint8)
    header = read_file_header(data)
    if header.link_type != LINKTYPE_RADIOTAP:
        raise RunInvalid(f"a capture of link type {header.link_type} is not one of the air")
    acceptances: list[Acceptance] = []
    null = [0, 0]
    for starts in iter_starts(data, header.order):
        for start in starts.tolist():
            seconds, part, size = struct.unpack_from(f"{header.order}3I", raw, start)
            frame = raw[start + RECORD_HEADER_BYTES :][:size]
            t_ns = seconds * 10**9 + part * header.unit_ns
            kind, subtype, control, body = _frame(frame)
            if kind == MANAGEMENT and subtype in (ASSOCIATION_RESPONSE, REASSOCIATION_RESPONSE):
                acceptances.append(_acceptance(t_ns, body))
            elif kind == DATA and subtype == NULL:
                null[bool(control & POWER_MANAGEMENT)] += 1
    return AirFrames(acceptances, asleep=null[1], awake=null[0])


def _frame(frame: bytes) -> tuple[int, int, int, bytes]:
    """Return type, subtype, frame control and all from the 802.11 header on."""
    (radiotap_bytes,) = struct.unpack_from("<H", frame, 2)
    body = frame[radiotap_bytes:]
    (control,) = struct.unpack_from("<H", body)
    return control >> 2 & 3, control >> 4 & 15, control, body


def _acceptance(t_ns: int, body: bytes) -> Acceptance:
    (status,) = struct.unpack_from("<H", body, HEADER_BYTES + 2)
    return Acceptance(t_ns, body[10:16].hex(":"), body[4:10].hex(":"), status)
