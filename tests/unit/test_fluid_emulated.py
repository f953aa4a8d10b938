# SPDX-License-Identifier: Apache-2.0
"""The model asked about a run of the emulation."""

import pytest

from testbed.fluid.emulated import case_of_run, payload_fraction
from testbed.fluid.solve import solve


def flow(client, server, transport="mptcp"):
    return {"client": client, "server": server, "transport": transport}


def run_of(*flows):
    return {
        "seed": 3,
        "varied": {"topology.parameters.k": "4", "workload.active": "0.125"},
        "mptcp": {"congestion_control": "lia"},
        "topology": {
            "datacenter": {
                "hosts": {f"h{at}": {} for at in range(16)},
                "spare_ports": 1,
                "subflows": 8,
            }
        },
        "workload": {"active_fraction": 0.125, "flows": list(flows)},
    }


def test_network_and_flows_are_those_of_the_run():
    parameters = {"k": 8, "rate": "10 Mbit/s", "subflows": 8}
    case = case_of_run(run_of(flow("h9", "h2"), flow("h0", "h12")), "fat_tree", parameters)
    assert case.parameters == {"k": 4}
    assert (case.spare_ports, case.cc, case.seed) == (1, "lia", 3)
    result = solve(case)
    assert list(zip(result.source, result.destination, strict=True)) == [(0, 12), (9, 2)]
    assert result.oracle == pytest.approx([2, 2])
    assert result.goodput.max() <= 2 * payload_fraction("mptcp") + 1e-9


def test_headers_of_mptcp_are_longer():
    assert payload_fraction("tcp") == pytest.approx(1448 / 1500)
    assert payload_fraction("mptcp") == pytest.approx(1420 / 1500)


def test_flows_of_a_mixed_run_keep_their_transport():
    """The neighbour sends over both ports, so TCP has the rest of its own."""
    run = run_of(flow("h0", "h4"), flow("h1", "h8", "tcp"))
    case = case_of_run(run, "fat_tree", {"k": 4})
    result = solve(case)
    assert result.is_tcp.tolist() == [False, True]
    assert result.is_lender.tolist() == [False, True]
    assert result.subflows.tolist() == [8, 1]
    assert case.payload_fraction == pytest.approx((1448 + 1420) / 3000)
    assert 0.4 < result.goodput[1] < 0.8 < 1 < result.goodput[0]
