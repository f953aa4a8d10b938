# SPDX-License-Identifier: Apache-2.0
"""The program of an interfering middlebox: python3 -m ... interference_host SPEC.json

It decides about the packets of an nftables queue in whose namespace it is started: each goes on as
it is, as another one, not at all, or there are others instead, which leave by a raw socket and
so are not queued again. It ends with a signal.
"""

import json
import select
import signal
import socket
import sys
from pathlib import Path

from testbed import packet
from testbed.netlink import nfqueue
from testbed.netlink.message import NetlinkSocket
from testbed.packet import Segment
from testbed.workloads.interference_acts import Act, make_act

READY = "ready"
QUEUE = 0
MOST_WAITING = 10_000
BUFFER_BYTES = 16 << 20

# A segment that waits for another one to be joined with waits no longer.
PATIENCE_MS = 5


class Host:
    """The middlebox.

    Args:
        act: what it does.
    """

    def __init__(self, act: Act) -> None:
        self._act = act
        self._queue = NetlinkSocket(nfqueue.NETLINK_NETFILTER)
        self._queue.make_room(BUFFER_BYTES)
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def serve(self) -> None:
        """Decide about packets for ever."""
        self._queue.request(nfqueue.bind(QUEUE), "let a program decide about packets")
        self._queue.request(nfqueue.copy_packets(QUEUE, MOST_WAITING), "copy packets to a program")
        print(READY, flush=True)
        poll = select.poll()
        poll.register(self._queue.fileno(), select.POLLIN)
        while True:
            if poll.poll(PATIENCE_MS if self._act.is_holding else None):
                for queued in nfqueue.parse_queued(self._queue.receive()):
                    self._decide(queued)
            else:
                self._send(self._act.flush())

    def _decide(self, queued: nfqueue.Queued) -> None:
        """Give the verdict on a packet."""
        segment = packet.parse(queued.packet)
        instead = None if segment is None else self._act.take(segment)
        if instead is None or (len(instead) == 1 and instead[0] is segment):
            self._queue.tell(nfqueue.accept(QUEUE, queued.number))
        elif len(instead) == 1:
            self._queue.tell(nfqueue.accept(QUEUE, queued.number, packet.build(instead[0])))
        else:
            self._queue.tell(nfqueue.drop(QUEUE, queued.number))
            self._send(instead)

    def _send(self, segments: list[Segment]) -> None:
        for segment in segments:
            self._raw.sendto(packet.build(segment), (packet.text(segment.target), 0))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Host(make_act(json.loads(Path(sys.argv[1]).read_text())["act"])).serve()
