# SPDX-License-Identifier: Apache-2.0
"""How congestion controls answer prices: the rate of each subflow in equilibrium.

The price of a subflow is the fraction of its packets that are lost or marked. In equilibrium,
increase and decrease cancel out: per acknowledgement a window w grows by I, per loss it shrinks by
w/2, so I = price * w/2 (prices are small). With I of Reno, RFC 6356 and OLIA this gives

    Reno on each subflow   rate_r = sqrt(2 / price_r) / rtt_r
    LIA                    w_r ~ 1 / price_r, and the rates of a connection add up to
                           max_r sqrt(2 / price_r) / rtt_r
    OLIA                   the same total, all of it on the paths where that maximum is reached

(RFC 6356, section 3; Khalili et al., IEEE/ACM ToN 2013, sections III and V). OLIA's split among
equal paths follows from the links, so that it has no law here; see `pooled_control`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from testbed.fluid.arrays import Floats, Ints, group_starts


class Law(Protocol):
    """The rate of each subflow at given prices."""

    def __call__(self, price: Floats, rtt: Floats, flow: Ints) -> Floats:
        """Return rates in packets per unit of time.

        Args:
            price: of each subflow, above 0.
            rtt: of each subflow.
            flow: the connection of each subflow, ascending.
        """


def reno_rates(price: Floats, rtt: Floats, flow: Ints) -> Floats:
    """Return the rates of subflows that are each a TCP connection of their own."""
    return np.sqrt(2 / price) / rtt


def lia_rates(price: Floats, rtt: Floats, flow: Ints) -> Floats:
    """Return the rates of subflows that are linked as in RFC 6356.

    The limit of the increase to that of TCP, 1/w, does not bind in equilibrium at equal RTT; where
    RTTs differ it may, and is left out.
    """
    starts = group_starts(flow)
    window = 1 / price
    total = np.add.reduceat(window / rtt, starts)
    best = np.maximum.reduceat(np.sqrt(2 / price) / rtt, starts)
    group = np.cumsum(np.diff(flow, prepend=flow[:1]) > 0)
    return window / rtt * (best / total)[group]


LAWS: dict[str, Callable[[Floats, Floats, Ints], Floats]] = {
    "reno": reno_rates,
    "cubic": reno_rates,  # in its Reno-friendly region: RTTs of a datacenter (RFC 9438, 4.3)
    "lia": lia_rates,
}
OLIA = "olia"
CONTROLS = (*LAWS, OLIA)
