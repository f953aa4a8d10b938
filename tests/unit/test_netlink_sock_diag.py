# SPDX-License-Identifier: Apache-2.0
"""Requests for sockets have the form of those of `ss`."""

import socket
import struct

import pytest

from testbed.netlink.sock_diag import IPPROTO_MPTCP, dump_sockets
from tests.unit.netlink_recorded import exact, recorded

# In the message: idiag_ext and idiag_states of struct inet_diag_req_v2.
EXTENSIONS_AT, STATES_AT = 18, 20


@pytest.mark.parametrize(
    ("name", "protocol"), [("dump_tcp", socket.IPPROTO_TCP), ("dump_mptcp", IPPROTO_MPTCP)]
)
def test_like_ss_but_for_states_and_extensions(name, protocol):
    def rest(request):
        block = bytearray(exact(request))
        block[EXTENSIONS_AT] = 0
        block[STATES_AT : STATES_AT + 4] = bytes(4)
        return block.hex(" ", 4)

    assert rest(dump_sockets(protocol)) == rest(recorded(name))


def test_all_states():
    assert dump_sockets(socket.IPPROTO_TCP)[STATES_AT : STATES_AT + 4] == b"\xff" * 4


def test_wanted_extensions():
    """INET_DIAG_INFO is 2, INET_DIAG_CONG 4 and INET_DIAG_SKMEMINFO 7; the bit is one less."""
    (bits,) = struct.unpack_from("=B", dump_sockets(socket.IPPROTO_TCP), EXTENSIONS_AT)
    assert bits == 1 << (2 - 1) | 1 << (4 - 1) | 1 << (7 - 1)
