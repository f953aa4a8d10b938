# SPDX-License-Identifier: Apache-2.0
"""Read what the kernel says of a queue of packets: /proc/net/netfilter/nfnetlink_queue.

A line per queue: number, program, waiting, copy mode, bytes copied, dropped for want of room,
dropped for want of the program's memory, last packet's number, 1.
"""

from testbed.errors import RunInvalid

FIELDS = 9


def parse_queue(data: bytes) -> int:
    """Return how many packets a program decided about.

    Raises:
        RunInvalid: there is no queue, or some packets never reached the program.
    """
    lines = [line.split() for line in data.decode(errors="replace").splitlines()]
    if not lines or any(len(line) != FIELDS for line in lines):
        raise RunInvalid("it says nothing of a queue; the middlebox's program was not there")
    full, unread, decided = (sum(int(line[at]) for line in lines) for at in (5, 6, 7))
    if full or unread:
        raise RunInvalid(f"{full + unread} of {decided} packets never reached the middlebox")
    return decided
