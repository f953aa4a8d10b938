# SPDX-License-Identifier: Apache-2.0
"""Which servers of a rack are wired to each other by their spare ports (Agache et al., NSDI 2015).

With n spare ports each server gets n neighbours: groups of n + 1 that are all wired to each other
where the rack divides into such groups, and else a ring, with the opposite server as the third.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from testbed.errors import PlanError

MAX_SPARE_PORTS = 3


def spare_pairs(servers: Sequence[str], spare_ports: int) -> list[tuple[str, str]]:
    """Return the pairs of servers of one rack that are wired to each other.

    Args:
        servers: of the rack.
        spare_ports: of each server.

    Raises:
        PlanError: the rack has too few servers, or cannot be wired so.
    """
    _check(len(servers), spare_ports)
    if spare_ports == 0:
        return []
    size = spare_ports + 1
    if len(servers) % size == 0 or spare_ports == 1:
        groups = (servers[at : at + size] for at in range(0, len(servers), size))
        return [pair for group in groups for pair in combinations(group, 2)]
    return list(_ring(servers, spare_ports))


def _check(servers: int, spare_ports: int) -> None:
    if not 0 <= spare_ports <= MAX_SPARE_PORTS:
        raise PlanError(f"spare_ports is {spare_ports}; a server has 0 to {MAX_SPARE_PORTS}")
    if spare_ports >= servers:
        raise PlanError(
            f"spare_ports is {spare_ports}, but a rack has {servers} servers, so each of them has "
            f"{servers - 1} neighbours at most; use fewer spare ports or larger racks"
        )


def _ring(servers: Sequence[str], spare_ports: int) -> Iterator[tuple[str, str]]:
    count = len(servers)
    if spare_ports == 3 and count % 2:
        raise PlanError(
            f"racks of {count} servers cannot be wired with 3 spare ports each; "
            "the number of servers has to be even"
        )
    yield from ((servers[at], servers[(at + 1) % count]) for at in range(count))
    if spare_ports == 3:
        yield from ((servers[at], servers[at + count // 2]) for at in range(count // 2))
