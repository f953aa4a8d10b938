# SPDX-License-Identifier: Apache-2.0
"""What a run among access points records: openings of the gate, echo answers and UDP packets."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.errors import RunInvalid

# The records of testbed/collectors/probes.py and testbed/workloads/udp.py.
PROBE = np.dtype([("path", "<u2"), ("sequence", "<u2"), ("sent_ns", "<i8"), ("took_ns", "<i8")])
PACKET = np.dtype([("path", "<u2"), ("sequence", "<u4"), ("sent_ns", "<i8"), ("took_ns", "<i8")])


def parse_probes(raw: bytes) -> npt.NDArray[Any]:
    """Return the echo answers (PROBE).

    Raises:
        RunInvalid: the last record is cut off.
    """
    return _records(raw, PROBE)


def parse_packets(raw: bytes) -> npt.NDArray[Any]:
    """Return the UDP packets that came (PACKET).

    Raises:
        RunInvalid: the last record is cut off.
    """
    return _records(raw, PACKET)


def _records(raw: bytes, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    if len(raw) % kind.itemsize:
        raise RunInvalid(f"{len(raw)} bytes are no whole number of records of {kind.itemsize}")
    return np.frombuffer(raw, kind)


def parse_gate(raw: bytes) -> list[tuple[float, list[str]]]:
    """Return from when on which links were open."""
    lines = [json.loads(line) for line in raw.splitlines()]
    return [(float(line["t_s"]), list(line["open"])) for line in lines]
