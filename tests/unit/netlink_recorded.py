# SPDX-License-Identifier: Apache-2.0
"""Compares our netlink requests with those of iproute2 in tests/data/netlink."""

import json
from pathlib import Path
from typing import Any

from testbed.netlink.message import (
    ATTR_HEADER,
    HEADER,
    NLA_F_NESTED,
    NLM_F_ACK,
)

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data" / "netlink" / "6.18-iproute2-6.1.json").read_text()
)

# Kinds of the attributes that hold attributes, and the bytes of the structure before those.
Nests = dict[int, tuple[int, "Nests"]]


def recorded(name: str) -> bytes:
    """Return the request that iproute2 has sent."""
    return bytes.fromhex(RECORDED[name]["hex"])


def exact(request: bytes) -> bytes:
    """Return a request without what differs from one sending to the next."""
    length, kind, flags, _, _ = HEADER.unpack_from(request)
    assert length == len(request)
    return HEADER.pack(length, kind, flags & ~NLM_F_ACK, 0, 0) + request[HEADER.size :]


def meaning(request: bytes, struct_bytes: int, nests: Nests | None = None) -> tuple[Any, ...]:
    """Return what a request says: the order of attributes and the end of texts say nothing."""
    _, kind, flags, _, _ = HEADER.unpack_from(request)
    body = request[HEADER.size :]
    return kind, flags & ~NLM_F_ACK, _structure(body, struct_bytes, nests or {})


def _structure(data: bytes, struct_bytes: int, nests: Nests) -> tuple[bytes, dict[int, Any]]:
    found: dict[int, Any] = {}
    at = struct_bytes
    while at < len(data):
        length, flagged = ATTR_HEADER.unpack_from(data, at)
        assert length >= 4, "an attribute has its header at least"
        assert at + length <= len(data), "an attribute lies within the message"
        kind = flagged & ~NLA_F_NESTED
        assert kind not in found
        value = data[at + 4 : at + length]
        found[kind] = _structure(value, *nests[kind]) if kind in nests else value.rstrip(b"\0")
        at += (length + 3) & ~3
    return data[:struct_bytes], found
