# SPDX-License-Identifier: Apache-2.0
"""Commands on a connection by its token, byte for byte as the kernel's headers say."""

import struct
from pathlib import Path

import pytest

from analysis.parse.mptcp_events import RECORD, parse_mptcp_events
from testbed.netlink import mptcp, mptcp_commands
from testbed.netlink.message import HEADER, split_attrs
from testbed.netlink.mptcp_commands import ConnectionManager, End, Source
from testbed.netlink.mptcp_events import decode_events

DATA = Path(__file__).parents[1] / "data" / "mptcp_events"
TOKEN = 0x92B89CE8
LOCAL, REMOTE = End("10.0.2.2", 47111), End("10.0.5.1", 5001)
FAMILY = struct.pack("=H", 2)


class Kernel:
    """Keeps what is asked."""

    def __init__(self, family):
        self.asked = []

    def request(self, request, what):
        self.asked.append((request, what))


@pytest.fixture
def manager(monkeypatch):
    monkeypatch.setattr(mptcp, "NetlinkSocket", Kernel)
    return ConnectionManager(family=30)


def asked(manager):
    """Return command and attributes of the one request, nested ones as mappings."""
    ((request, _),) = manager._socket.asked
    _, family, _, _, _ = HEADER.unpack_from(request)
    command, version, _ = struct.unpack_from("=BBH", request, HEADER.size)
    assert (family, version) == (30, 1)
    attrs = split_attrs(request[HEADER.size + 4 :])
    nested = (mptcp.MPTCP_PM_ATTR_ADDR, mptcp_commands.MPTCP_PM_ATTR_ADDR_REMOTE)
    return command, {k: split_attrs(v) if k in nested else v for k, v in attrs.items()}


def end(address, port=None, **more):
    """Return the attributes of an address; the port is in host order."""
    found = {1: FAMILY, 3: bytes(map(int, address.split(".")))}
    return {**found, **({5: struct.pack("=H", port)} if port else {}), **more}


def source(identifier, flags, index=0):
    more = {2: bytes([identifier]), 6: struct.pack("=I", flags)}
    more |= {7: struct.pack("=I", index)} if index else {}
    return {**end("10.0.2.2"), **more}


def test_announce(manager):
    manager.announce(TOKEN, Source("10.0.2.2", 2, 13))
    assert asked(manager) == (8, {4: struct.pack("=I", TOKEN), 1: source(2, 1, 13)})


def test_remove(manager):
    manager.remove(TOKEN, 0)
    assert asked(manager) == (9, {4: struct.pack("=I", TOKEN), 5: b"\0"})


@pytest.mark.parametrize(("is_backup", "flags"), [(False, 2), (True, 6)])
def test_create_subflow(manager, is_backup, flags):
    manager.create_subflow(TOKEN, Source("10.0.2.2", 1), REMOTE, is_backup=is_backup)
    assert asked(manager) == (
        10,
        {4: struct.pack("=I", TOKEN), 1: source(1, flags), 6: end("10.0.5.1", 5001)},
    )


def test_destroy_subflow(manager):
    manager.destroy_subflow(TOKEN, LOCAL, REMOTE)
    assert asked(manager) == (
        11,
        {4: struct.pack("=I", TOKEN), 1: end("10.0.2.2", 47111), 6: end("10.0.5.1", 5001)},
    )


@pytest.mark.parametrize(("is_backup", "flags"), [(False, 0), (True, 4)])
def test_set_backup(manager, is_backup, flags):
    manager.set_subflow_backup(TOKEN, LOCAL, REMOTE, is_backup)
    local = {**end("10.0.2.2", 47111), 6: struct.pack("=I", flags)}
    assert asked(manager) == (
        7,
        {4: struct.pack("=I", TOKEN), 1: local, 6: end("10.0.5.1", 5001)},
    )


@pytest.mark.parametrize("name", ["full", "single"])
def test_target_and_analysis_read_the_same_events(name):
    """Two decoders, one on each side of the boundary, of what Linux 7.3 sent."""
    data = (DATA / f"7.3-laptop-{name}.bin").read_bytes()
    ours, at = [], 0
    while at < len(data):
        _, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        ours += decode_events(data[at : at + length])
        at += length
    theirs = [event for event in parse_mptcp_events(data) if event.token is not None]

    assert len(ours) > 3
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.kind, mine.token) == (other.event, other.token)
        assert (str(mine.local or ""), str(mine.remote or "")) == (other.local, other.remote)
        assert (mine.local_id, mine.remote_id) == (other.local_id, other.remote_id)
        assert mine.is_backup == bool(other.is_backup)
        assert mine.error == other.error
