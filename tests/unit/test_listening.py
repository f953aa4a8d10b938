# SPDX-License-Identifier: Apache-2.0
"""Evidence that a server listens."""

import socket
from pathlib import Path

import pytest

from testbed.workloads.listening import listens

PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0C38 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 16400 1
   1: 0206000A:1F90 0106000A:A3C2 01 00000000:00000000 00:00000000 00000000     0        0 16402 1
   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 16401 1
"""


@pytest.mark.parametrize(
    ("port", "expected"),
    [(3128, True), (22, True), (8080, False), (0, False), (0xA3C2, False)],
)
def test_only_listening_sockets_count(port, expected):
    """Port 8080 is that of an established connection, and 0 that of every remote end."""
    assert listens(PROC_NET_TCP, port) is expected


def test_nothing_listens_where_there_are_no_sockets():
    assert not listens(PROC_NET_TCP.splitlines()[0], 3128)
    assert not listens("", 3128)


def test_as_this_kernel_writes_it():
    table = Path("/proc/thread-self/net/tcp")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not listens(table.read_text(), port)
        server.listen()
        assert listens(table.read_text(), port)
    assert not listens(table.read_text(), port)
