# SPDX-License-Identifier: Apache-2.0
"""What the model is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from testbed.fluid.arrays import Bools, Floats, Ints
from testbed.fluid.oracle import analytic_oracle

MPTCP, TCP = "mptcp", "tcp"


@dataclass(frozen=True)
class FluidCase:
    """One run of the model; the names are those of experiment files.

    Attributes:
        topology: name of a datacenter network.
        parameters: of the topology; those that have to do with packets are unknown here.
        spare_ports: of each server.
        active_fraction: of all servers, above 0 and up to 1; how many of them send.
        transport: "mptcp" on all ports, or "tcp", one connection by each server's first port.
        cc: congestion control: reno, cubic, lia or olia.
        subflows: of a connection at least; each pair of ports has as many as the others.
        tcp_fraction: of the flows; these use TCP as with that transport, whatever the others do.
        tcp_senders: by number, those whose flows are TCP; instead of a fraction that is drawn.
        seed: of traffic and of ECMP.
        pairs: sender and receiver of each flow, by number; instead of a permutation that is drawn.
        payload_fraction: of what links carry, without headers; goodput is this times the rate.
    """

    topology: str = "fat_tree"
    parameters: Mapping[str, int] = field(default_factory=dict)
    spare_ports: int = 0
    active_fraction: float = 1.0
    transport: str = MPTCP
    cc: str = "lia"
    subflows: int = 8
    tcp_fraction: float = 0.0
    tcp_senders: frozenset[int] | None = None
    seed: int = 1
    pairs: tuple[tuple[int, int], ...] | None = None
    payload_fraction: float = 1.0


@dataclass(frozen=True)
class FluidResult:
    """The answer to a case; rates are in NICs, of one flow each unless said otherwise.

    Attributes:
        servers: how many there are in the network.
        source, destination: servers of each flow.
        goodput: in equilibrium.
        optimum: max-min fair over all paths, with spare cables and racks as they are.
        oracle: max-min fair if only the servers' ports limited it, as the emulation's.
        is_lender: whether a neighbour sends to another server, and may use the sender's uplink.
        is_tcp: whether it is plain TCP.
        subflows: of each flow.
        utilisation: of every link, by kind.
        residual: how far from an equilibrium; see the solvers.
    """

    case: FluidCase
    servers: int
    source: Ints
    destination: Ints
    goodput: Floats
    optimum: Floats
    oracle: Floats
    is_lender: Bools
    is_tcp: Bools
    subflows: Ints
    utilisation: Mapping[str, Floats]
    rounds: int
    residual: float

    @property
    def active_fraction(self) -> float:
        """How many servers send, of all; a whole number of them does."""
        return self.source.size / self.servers

    def row(self) -> dict[str, Any]:
        """Return the numbers of a run that `--json` shows, and a few more."""
        case, goodput = self.case, self.goodput
        return {
            "engine": "fluid",
            "topology": case.topology,
            **{f"parameter_{name}": value for name, value in case.parameters.items()},
            "servers": self.servers,
            "spare_ports": case.spare_ports,
            "active_fraction": self.active_fraction,
            "transport": case.transport,
            "cc": case.cc,
            "subflows": case.subflows,
            "tcp_fraction": case.tcp_fraction,
            "seed": case.seed,
            "flows": int(goodput.size),
            "subflows_per_flow": float(self.subflows.mean()),
            "goodput_nic": float(goodput.mean()),
            "oracle_nic": float(self.oracle.mean()),
            "optimum_nic": float(self.optimum.mean()),
            "analytic_nic": analytic_oracle(case.spare_ports, self.active_fraction),
            "lender_goodput_nic": _mean(goodput[self.is_lender]),
            "lender_tcp_goodput_nic": _mean(goodput[self.is_lender & self.is_tcp]),
            "goodput_p10_nic": float(np.quantile(goodput, 0.1)),
            "jain": float(goodput.sum() ** 2 / (goodput.size * (goodput**2).sum())),
            "core_utilisation": self.core_utilisation(),
            "residual": self.residual,
        }

    def core_utilisation(self) -> float:
        """Return the mean utilisation of links between switches; nan without any."""
        names = [name for name in self.utilisation if not name.startswith(("server", "spare"))]
        return _mean(np.concatenate([self.utilisation[name] for name in names]))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
