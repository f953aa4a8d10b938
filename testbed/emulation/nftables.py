# SPDX-License-Identifier: Apache-2.0
"""Packet filters of a node: nftables rules, and what their counters say in the end."""

from pathlib import Path

from testbed.emulation.node import Node
from testbed.process import run

TIMEOUT_S = 30.0


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
