# SPDX-License-Identifier: Apache-2.0
"""The best that the same flows could get, were the core ideal: ports and spare cables limit them.

`analysis/oracle.py` leaves out that a cable between neighbours is shared by what one of them sends
by way of the other and what the other receives by way of it; and it counts an uplink where a common
neighbour of both ends forwards from cable to cable. Here each flow may split its rate in any way
over pairs of a way out and a way in; neighbours have the cable between them besides. Rates are in
NICs, the capacity of one port or cable.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from testbed.fluid.arrays import NONE, incidence
from testbed.fluid.pooling import Pooling, pooled_rates

Run = dict[str, Any]
Link = tuple[str, ...]


def optimum_rates(run: Run) -> list[float]:
    """Return the max-min fair rate of each flow of a run, in NICs, from run.json."""
    hosts = run["topology"]["datacenter"]["hosts"]
    options = [list(_options(flow, hosts)) for flow in run["workload"]["flows"]]
    rates: list[float] = pooled_rates(_problem(options)).tolist()
    return rates


def _options(flow: Run, hosts: Run) -> Iterator[list[Link]]:
    """Give the links of every cross path that a flow may use."""
    sender, receiver = flow["client"], flow["server"]
    if flow["transport"] != "mptcp":
        yield [("up", sender, "0"), ("down", receiver, "0")]
        return
    for by, up in _ways("up", sender, hosts):
        for over, down in _ways("down", receiver, hosts):
            yield _cross(sender, receiver, (by, over)) or [
                *([("cable", sender, by)] if by != sender else []),
                up,
                down,
                *([("cable", over, receiver)] if over != receiver else []),
            ]


def _ways(direction: str, host: str, hosts: Run) -> list[tuple[str, Link]]:
    """Return who is at the switch for a host, itself or a neighbour, and by which port."""
    own = [(host, (direction, host, str(at))) for at in range(len(hosts[host]["uplinks"]))]
    return own + [(lender, (direction, lender, "0")) for lender in hosts[host]["lenders"]]


def _cross(sender: str, receiver: str, relays: tuple[str, str]) -> list[Link]:
    """Return the cables where they are the whole way; else none."""
    by, over = relays
    if by == receiver or over == sender:
        return [("cable", sender, receiver)]
    if by == over:
        return [("cable", sender, by), ("cable", by, receiver)]
    return []


def _problem(options: Sequence[Sequence[list[Link]]]) -> Pooling:
    paths = [path for mine in options for path in mine]
    number: dict[Link, int] = {}
    for path in paths:
        for link in path:
            number.setdefault(link, len(number))
    links = np.full((len(paths), max(map(len, paths))), NONE)
    for at, path in enumerate(paths):
        links[at, : len(path)] = [number[link] for link in path]
    leg = np.repeat(np.arange(len(options)), [len(mine) for mine in options])
    return Pooling(
        incidence(links, len(number)), np.ones(len(number)), leg, np.arange(len(options))
    )
