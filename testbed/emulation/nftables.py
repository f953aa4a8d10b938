# SPDX-License-Identifier: Apache-2.0
"""Packet filters of a node: nftables rules, and what their counters say, over time and in the end.

The log of an inspector is a sequence of records, each `struct "<QI"` of the Unix time in ns and a
length, and then so many bytes of netlink messages: the elements of the set `connections`.
"""

import struct
import time
from pathlib import Path

from testbed.emulation.node import Node
from testbed.netlink.message import NetlinkSocket
from testbed.netlink.nft_sets import NETLINK_NETFILTER, dump_set
from testbed.process import run

TIMEOUT_S = 30.0
TABLE, CONNECTIONS = "middlebox", "connections"
RECORD = struct.Struct("<QI")


def add_rules(node: Node, rules: str) -> None:
    """Add a rule set to a node.

    Raises:
        CommandError: nft refused it; the message says why.
    """
    run(
        ["nft", "-f", "-"],
        timeout_s=TIMEOUT_S,
        input_text=rules,
        prepare=node.namespace.enter,
    )


def record_rules(node: Node, file: Path) -> None:
    """Write the rules of a node and their counters, as nft says them in JSON."""
    file.write_text(
        run(["nft", "-j", "list", "ruleset"], timeout_s=TIMEOUT_S, prepare=node.namespace.enter)
    )


class Inspector:
    """Logs how many bytes of each connection have passed a middlebox by now.

    Args:
        node: the middlebox, with rules that count in a set.
        family: of their table, `ip` or `ip6`.
        file: where the records go.
    """

    def __init__(self, node: Node, family: str, file: Path) -> None:
        with node.namespace.inside():
            self._socket = NetlinkSocket(NETLINK_NETFILTER)
        self._request = dump_set(family, TABLE, CONNECTIONS)
        self._file = file.open("wb", buffering=1 << 20)

    def sample(self) -> None:
        """Record what every connection has sent so far."""
        answer = self._socket.dump(self._request)
        self._file.write(RECORD.pack(time.time_ns(), len(answer)) + answer)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._socket.close()
