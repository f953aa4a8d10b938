# SPDX-License-Identifier: Apache-2.0
"""Patterns of traffic in a datacenter, as pairs of a sender and a receiver.

A permutation is what Raiciu et al. (SIGCOMM 2011) and Agache et al. (NSDI 2015) measure with: each
active server sends to one random other server, and no server receives from two.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from testbed.errors import PlanError
from testbed.spec.workloads import AllToAllSpec, IncastSpec, PermutationSpec, ShuffleSpec

Pairs = list[tuple[str, str]]


def permutation(hosts: Sequence[str], active: float, chance: random.Random) -> Pairs:
    """Return the pairs of a partial permutation without a server that sends to itself.

    Args:
        hosts: all servers.
        active: fraction of them that send, above 0.
        chance: where the randomness comes from.
    """
    count = max(1, round(active * len(hosts)))
    senders = chance.sample(list(hosts), count)
    while True:  # a random choice is one with a probability of at least 1/e
        receivers = chance.sample(list(hosts), count)
        if all(a != b for a, b in zip(senders, receivers, strict=True)):
            return list(zip(senders, receivers, strict=True))


def _permutation(spec: PermutationSpec, hosts: Sequence[str], chance: random.Random) -> Pairs:
    _need(len(hosts), 2, "a permutation")
    return permutation(hosts, spec.active, chance)


def _incast(spec: IncastSpec, hosts: Sequence[str], chance: random.Random) -> Pairs:
    _need(len(hosts), spec.senders + 1, f"an incast from {spec.senders} senders")
    receiver, *senders = chance.sample(list(hosts), spec.senders + 1)
    return [(sender, receiver) for sender in senders]


def _all_to_all(spec: AllToAllSpec, hosts: Sequence[str], chance: random.Random) -> Pairs:
    _need(len(hosts), spec.servers, f"traffic among {spec.servers} servers")
    chosen = chance.sample(list(hosts), spec.servers)
    return [(a, b) for a in chosen for b in chosen if a != b]


def _shuffle(spec: ShuffleSpec, hosts: Sequence[str], chance: random.Random) -> Pairs:
    count = spec.mappers + spec.reducers
    _need(len(hosts), count, f"a shuffle of {spec.mappers} mappers and {spec.reducers} reducers")
    chosen = chance.sample(list(hosts), count)
    return [(a, b) for a in chosen[: spec.mappers] for b in chosen[spec.mappers :]]


PATTERNS: dict[str, Callable[[Any, Sequence[str], random.Random], Pairs]] = {
    "permutation": _permutation,
    "incast": _incast,
    "all_to_all": _all_to_all,
    "shuffle": _shuffle,
}


def _need(there: int, needed: int, what: str) -> None:
    if there < needed:
        raise PlanError(f"workload: {what} needs {needed} servers, but the network has {there}")
