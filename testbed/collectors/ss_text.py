# SPDX-License-Identifier: Apache-2.0
"""The text of `ss -tinmM`, for people: raw/<node>.ss.start.txt, .middle.txt and .end.txt.

How long a run takes is not known before it ends, so samples are taken at 1, 2, 4, ... s: the
first is "start", the last before the end "middle".
"""

from pathlib import Path

from testbed.emulation.network import Node
from testbed.process import run

ARGV = ("ss", "-tinmM")
FIRST_S = 1.0
TIMEOUT_S = 30.0


class SsText:
    """Writes what `ss` says of a node's sockets.

    Args:
        node: whose sockets.
        raw: the folder.
    """

    def __init__(self, node: Node, raw: Path) -> None:
        self._node = node
        self._raw = raw

    def write(self, when: str) -> None:
        """Write the text of this moment."""
        text = run(ARGV, timeout_s=TIMEOUT_S, prepare=self._node.namespace.enter)
        (self._raw / f"{self._node.name}.ss.{when}.txt").write_text(text)
