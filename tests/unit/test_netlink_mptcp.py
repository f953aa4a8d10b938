# SPDX-License-Identifier: Apache-2.0
"""Requests to the path manager say what those of `ip mptcp` say."""

import struct

import pytest

from testbed.errors import PrerequisiteError
from testbed.netlink import mptcp
from testbed.netlink.message import HEADER, NLMSG_ERROR, message, text, u16
from tests.unit.netlink_recorded import exact, meaning, recorded

GENL_BYTES = 4
ADDRESS = {mptcp.MPTCP_PM_ATTR_ADDR: (0, {})}
ENDPOINT = mptcp.Endpoint("10.0.1.2", 1, ("subflow", "backup"), 12)


class RecordingSocket:
    """Stands in for the kernel: keeps what is asked and answers with a prepared block."""

    answer = b""

    def __init__(self, family):
        assert family == mptcp.NETLINK_GENERIC
        self.asked = []

    def dump(self, request):
        self.asked.append(request)
        return self.answer

    def request(self, request, what):
        self.asked.append(request)

    def close(self):
        pass


def acknowledgement(error):
    return message(NLMSG_ERROR, 0, struct.pack("=i", error) + bytes(HEADER.size))


def family_answer():
    # The family's number in the recorded requests is 28.
    attrs = text(mptcp.CTRL_ATTR_FAMILY_NAME, "mptcp_pm") + u16(mptcp.CTRL_ATTR_FAMILY_ID, 28)
    return message(mptcp.GENL_ID_CTRL, 0, bytes([1, 2, 0, 0]) + attrs) + acknowledgement(0)


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


def test_kernel_without_mptcp(monkeypatch):
    """A kernel that does not know the family is refused with what to do about it."""
    monkeypatch.setattr(RecordingSocket, "answer", acknowledgement(-2))
    monkeypatch.setattr(mptcp, "NetlinkSocket", RecordingSocket)
    with pytest.raises(PrerequisiteError, match="^this kernel has no MPTCP; use the lab, or"):
        mptcp.PathManager()
