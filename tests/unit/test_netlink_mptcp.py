# SPDX-License-Identifier: Apache-2.0
"""Requests to the path manager say what those of `ip mptcp` say."""

import socket
import struct

import pytest

from testbed.errors import PrerequisiteError
from testbed.netlink import generic, mptcp
from testbed.netlink.message import (
    HEADER,
    NLMSG_ERROR,
    NetlinkSocket,
    message,
    nested,
    text,
    u16,
    u32,
)
from tests.unit.netlink_recorded import exact, meaning, recorded

GENL_BYTES = 4
ADDRESS = {mptcp.MPTCP_PM_ATTR_ADDR: (0, {})}
ENDPOINT = mptcp.Endpoint("10.0.1.2", 1, ("subflow", "backup"), 12)


class RecordingSocket:
    """Stands in for the kernel: keeps what is asked and answers with a prepared block."""

    answer = b""

    def __init__(self, family):
        assert family == generic.NETLINK_GENERIC
        self.asked = []

    def dump(self, request):
        self.asked.append(request)
        return self.answer

    def request(self, request, what):
        self.asked.append(request)

    def add(self, request, what):
        self.asked.append(request)

    def flush(self):
        pass

    def join(self, group):
        self.joined = group

    def close(self):
        pass


def acknowledgement(error):
    return message(NLMSG_ERROR, 0, struct.pack("=i", error) + bytes(HEADER.size))


def group(number, name):
    body = u32(generic.CTRL_ATTR_MCAST_GRP_ID, 70 + number)
    return nested(number, body + text(generic.CTRL_ATTR_MCAST_GRP_NAME, name))


def family_answer():
    # The family's number in the recorded requests is 28.
    attrs = text(generic.CTRL_ATTR_FAMILY_NAME, "mptcp_pm") + u16(generic.CTRL_ATTR_FAMILY_ID, 28)
    groups = group(1, "mptcp_pm_cmds") + group(2, "mptcp_pm_events")
    attrs += nested(generic.CTRL_ATTR_MCAST_GROUPS, groups)
    return message(generic.GENL_ID_CTRL, 0, bytes([1, 2, 0, 0]) + attrs) + acknowledgement(0)


@pytest.fixture
def manager(monkeypatch):
    monkeypatch.setattr(RecordingSocket, "answer", family_answer())
    monkeypatch.setattr(mptcp, "NetlinkSocket", RecordingSocket)
    return mptcp.PathManager()


def last(manager):
    return manager._socket.asked[-1]


def test_asks_for_the_family_by_its_name(manager):
    (asked,) = manager._socket.asked
    assert asked.hex(" ", 4) == (
        "24000000 10000500 00000000 00000000"  # 36 bytes, nlctrl, REQUEST | ACK
        " 03020000 0d000200 6d707463 705f706d 00000000"  # GETFAMILY, name "mptcp_pm"
    )


def test_limits_are_those_of_ip_mptcp(manager):
    manager.set_limits(subflows=8, add_addr_accepted=4)
    assert exact(last(manager)) == exact(recorded("set_limits"))


def test_endpoint_is_that_of_ip_mptcp(manager):
    manager.add_endpoint(ENDPOINT)
    ours, theirs = last(manager), recorded("add_endpoint")
    assert meaning(ours, GENL_BYTES, ADDRESS) == meaning(theirs, GENL_BYTES, ADDRESS)
    assert len(ours) == len(theirs)


def test_endpoint_is_deleted_by_its_number_and_address(manager):
    manager.delete_endpoint(ENDPOINT)
    assert last(manager).hex(" ", 4) == (
        "30000000 1c000100 00000000 00000000 02010000"
        " 1c000180 06000100 02000000 05000200 01000000 08000300 0a000102"
    )


@pytest.mark.parametrize(("is_backup", "flags"), [(True, "04000000"), (False, "00000000")])
def test_endpoint_becomes_a_backup_or_none(manager, is_backup, flags):
    """Which other flags it has does not matter: the kernel changes this one only."""
    manager.set_backup(ENDPOINT, is_backup)
    assert last(manager).hex(" ", 4) == (
        "38000000 1c000100 00000000 00000000 07010000"
        f" 24000180 06000100 02000000 05000200 01000000 08000300 0a000102 08000600 {flags}"
    )


def test_events_are_those_of_their_group(monkeypatch):
    """The group's number is looked up by its name; the command group is not the one."""
    monkeypatch.setattr(RecordingSocket, "answer", family_answer())
    monkeypatch.setattr(mptcp, "NetlinkSocket", RecordingSocket)
    assert mptcp.subscribe_events().joined == 72


def test_subscription_is_a_membership_of_the_netlink_socket(monkeypatch):
    """SOL_NETLINK 270, NETLINK_ADD_MEMBERSHIP 1: linux/netlink.h, socket.h."""
    asked = []

    class Socket:
        def setsockopt(self, *option):
            asked.append(option)

        def close(self):
            pass

    monkeypatch.setattr(NetlinkSocket, "__init__", lambda self: setattr(self, "_socket", Socket()))
    NetlinkSocket().join(72)
    assert asked[-1] == (270, 1, 72)
    assert asked[0][:2] == (socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_socket_without_messages_has_nothing(monkeypatch):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    monkeypatch.setattr(NetlinkSocket, "__init__", lambda self: setattr(self, "_socket", left))
    with NetlinkSocket() as events, right:
        assert events.fileno() == left.fileno()
        assert events.receive() == b""
        right.send(b"event")
        assert (events.receive(), events.receive()) == (b"event", b"")


def test_events_of_a_kernel_without_mptcp(monkeypatch):
    monkeypatch.setattr(RecordingSocket, "answer", acknowledgement(-2))
    monkeypatch.setattr(mptcp, "NetlinkSocket", RecordingSocket)
    with pytest.raises(PrerequisiteError, match="^this kernel has no MPTCP; use the lab, or"):
        mptcp.subscribe_events()


def test_kernel_without_mptcp(monkeypatch):
    """A kernel that does not know the family is refused with what to do about it."""
    monkeypatch.setattr(RecordingSocket, "answer", acknowledgement(-2))
    monkeypatch.setattr(mptcp, "NetlinkSocket", RecordingSocket)
    with pytest.raises(PrerequisiteError, match="^this kernel has no MPTCP; use the lab, or"):
        mptcp.PathManager()
