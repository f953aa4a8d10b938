# SPDX-License-Identifier: Apache-2.0
"""Ask the model about a run of the emulation: the same network, the same flows."""

from collections.abc import Mapping
from typing import Any

from testbed.errors import PlanError
from testbed.fluid.case import MPTCP, TCP, FluidCase

# What a topology of the emulation takes and the model has no use for, or elsewhere.
NOT_OURS = ("rate", "one_way_delay", "queue_packets", "nic_queues", "spare_ports", "subflows")
VARIED = "topology.parameters."
MTU_BYTES = 1500
IP_AND_TCP_BYTES = 20 + 20 + 12  # with timestamps
DSS_BYTES = 28  # RFC 8684, 3.3: 64-bit data ACK and sequence number, padded


def payload_fraction(transport: str) -> float:
    """Return what is left for the application of what links carry, in full packets."""
    headers = IP_AND_TCP_BYTES + (DSS_BYTES if transport == MPTCP else 0)
    return 1 - headers / MTU_BYTES


def case_of_run(run: Mapping[str, Any], topology: str, parameters: Mapping[str, Any]) -> FluidCase:
    """Return the case of a run between the servers of a datacenter.

    Args:
        run: run.json.
        topology, parameters: as in the experiment file; what varies is taken from the run.

    Raises:
        PlanError: some flows are TCP and others MPTCP; the model draws which ones itself.
    """
    flows, network = run["workload"]["flows"], run["topology"]["datacenter"]
    number = {name: at for at, name in enumerate(network["hosts"])}
    kinds = {flow["transport"] for flow in flows}
    if len(kinds) != 1:
        raise PlanError("the fluid model cannot follow a run that mixes TCP and MPTCP flow by flow")
    transport = MPTCP if kinds == {MPTCP} else TCP
    varied = {key.removeprefix(VARIED): value for key, value in run["varied"].items()
              if key.startswith(VARIED)}  # fmt: skip
    every = {**parameters, **varied}
    return FluidCase(
        topology=topology,
        parameters={name: int(every[name]) for name in every if name not in NOT_OURS},
        spare_ports=network["spare_ports"],
        active_fraction=run["workload"]["active_fraction"],
        transport=transport,
        cc=run["mptcp"]["congestion_control"],
        subflows=network["subflows"],
        seed=run["seed"],
        pairs=tuple((number[flow["client"]], number[flow["server"]]) for flow in flows),
        payload_fraction=payload_fraction(transport),
    )
