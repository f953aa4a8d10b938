# SPDX-License-Identifier: Apache-2.0
"""Ask the model about a run of the emulation: the same network, the same flows."""

from collections.abc import Mapping
from typing import Any

from testbed.fluid.case import MPTCP, TCP, FluidCase

# What a topology of the emulation takes and the model has no use for, or elsewhere.
NOT_OURS = ("rate", "one_way_delay", "queue_packets", "nic_queues", "mark_packets", "spare_ports",
            "subflows")  # fmt: skip
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

    Where some flows are TCP and others MPTCP, headers are those of an average flow.
    """
    flows, network = run["workload"]["flows"], run["topology"]["datacenter"]
    number = {name: at for at, name in enumerate(network["hosts"])}
    plain = frozenset(number[flow["client"]] for flow in flows if flow["transport"] == TCP)
    payloads = [payload_fraction(flow["transport"]) for flow in flows]
    varied = {key.removeprefix(VARIED): value for key, value in run["varied"].items()
              if key.startswith(VARIED)}  # fmt: skip
    every = {**parameters, **varied}
    return FluidCase(
        topology=topology,
        parameters={name: int(every[name]) for name in every if name not in NOT_OURS},
        spare_ports=network["spare_ports"],
        active_fraction=run["workload"]["active_fraction"],
        transport=TCP if len(plain) == len(flows) else MPTCP,
        tcp_senders=plain,
        cc=run["mptcp"]["congestion_control"],
        subflows=network["subflows"],
        seed=run["seed"],
        pairs=tuple((number[flow["client"]], number[flow["server"]]) for flow in flows),
        payload_fraction=sum(payloads) / len(payloads),
    )
