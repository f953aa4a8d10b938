# SPDX-License-Identifier: Apache-2.0
"""The routes of a network: the shortest ways, and as few prefixes as lead them."""

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from testbed.topology.link import PREFIX_LENGTH, Link

# A node with more routes than this gets as few as say the same; one per network reads better.
MAX_ROUTES = 64


class Way(NamedTuple):
    """The best way from one node to another; of two, the lesser is the better one."""

    hosts_passed: int
    links: int
    order: int
    node: str
    first: str
    last: str


def ways(
    start: str, links_at: Callable[[str], Iterable[Link]], is_host: Callable[[str], bool]
) -> dict[str, Way]:
    """Return the best way from a node to every other one that can be reached.

    Args:
        start: the node.
        links_at: returns the links of a node.
        is_host: returns whether a node does not forward.
    """
    found: dict[str, Way] = {}
    heap = [Way(0, 0, 0, start, "", "")]
    order = 0
    while heap:
        way = heappop(heap)
        if way.node in found:
            continue
        found[way.node] = way
        passed = way.hosts_passed + (way.links > 0 and is_host(way.node))
        for link in links_at(way.node):
            other = link.other(way.node)
            if other not in found:
                order += 1
                first = way.first or link.name
                heappush(heap, Way(passed, way.links + 1, order, other, first, link.name))
    del found[start]
    return found


def way_onto(link: Link, found: dict[str, Way], is_host: Callable[[str], bool]) -> Way:
    """Return the best way to a link's network, as far as its nearer end.

    By an end that is a host, only that host is reached and nothing on the other end.
    """
    return min(
        (found[link.a], found[link.b]),
        key=lambda way: (way.hosts_passed + is_host(way.node), way.links, way.order),
    )


def prefixes(hops: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield the routes of a node as network number, prefix length and first link."""
    if len(hops) <= MAX_ROUTES:
        yield from ((network, PREFIX_LENGTH, hop) for network, hop in hops.items())
    else:
        yield from _fewest_prefixes(hops)


def _fewest_prefixes(hops: dict[int, str]) -> Iterator[tuple[int, int, str]]:
    """Yield the fewest routes that lead every network the same way.

    Optimal Routing Table Constructor (Draves et al., INFOCOM 1999) on a complete binary tree,
    node n above 2n and 2n + 1, leaves are the networks. A node holds the set of first links that
    suit it, a bit for each; where no network is, and for a node's own ones, whose routes the
    kernel makes, everything suits.
    """
    width = max(hops).bit_length()
    links = list(dict.fromkeys(hops.values()))
    bits = {link: 1 << number for number, link in enumerate(links)}
    suits = [-1] * (2 << width)
    for network, hop in hops.items():
        suits[(1 << width) + network] = bits[hop]
    for place in range((1 << width) - 1, 0, -1):
        left, right = suits[2 * place], suits[2 * place + 1]
        suits[place] = left & right or left | right
    chosen = [0] * (2 << width)
    for place in range(1, 2 << width):
        wanted, inherited = suits[place], chosen[place >> 1]
        if wanted == -1 or wanted & inherited:
            chosen[place] = inherited
            continue
        chosen[place] = wanted & -wanted
        bits_below = width + 1 - place.bit_length()
        network = (place << bits_below) - (1 << width)
        yield network, PREFIX_LENGTH - bits_below, links[chosen[place].bit_length() - 1]
