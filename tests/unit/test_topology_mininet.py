# SPDX-License-Identifier: Apache-2.0
"""What `mn` is told of a topology; that it works is tested in the lab."""

import subprocess
import sys

import pytest

from testbed.topology import Direction
from testbed.topology.mininet_node import FORWARD, NO_FILTER, tc_parameters
from topologies.underground import Underground


def commands(name):
    return Underground().nodeInfo(name)["commands"]()


def test_router_forwards_and_has_its_routes():
    assert commands("ap") == [
        NO_FILTER,
        FORWARD,
        "ip route add 10.0.2.0/24 via 10.0.3.1 dev ap-core",
        "ip route add 10.0.4.0/24 via 10.0.3.1 dev ap-core",
        "ip route add 10.0.5.0/24 via 10.0.3.1 dev ap-core",
        "ip route add 10.0.6.0/24 via 10.0.3.1 dev ap-core",
    ]


def test_client_leaves_by_each_of_its_paths():
    assert commands("laptop") == [
        NO_FILTER,
        "ip rule add from 10.0.1.2 table 101 priority 100",
        "ip route add default via 10.0.1.1 dev wlan0 src 10.0.1.2 table 101",
        "ip route add default via 10.0.1.1 dev wlan0 src 10.0.1.2 metric 100",
        "ip rule add from 10.0.2.2 table 102 priority 100",
        "ip route add default via 10.0.2.1 dev cell0 src 10.0.2.2 table 102",
        "ip route add default via 10.0.2.1 dev cell0 src 10.0.2.2 metric 200",
    ]


@pytest.mark.parametrize(
    ("direction", "parameters"),
    [
        (Direction(), {}),
        (Direction(rate_bps=8_000_000), {"bw": 8.0}),
        (Direction(one_way_delay_s=0.0105), {"delay": "10.5ms"}),
        (Direction(loss_fraction=0.25), {"loss": 25.0}),
        # 80 kB in the queue and 10 kB on the way are 60 packets.
        (
            Direction(rate_bps=8_000_000, one_way_delay_s=0.010, queue_bytes=80_000),
            {"bw": 8.0, "delay": "10ms", "max_queue_size": 60},
        ),
        # More than Mininet can shape.
        (Direction(rate_bps=2_000_000_000, queue_bytes=80_000), {}),
    ],
)
def test_tc_parameters(direction, parameters):
    assert tc_parameters(direction) == parameters


def test_mininet_hears_of_a_new_shape():
    topology = Underground()
    topology.shape("3g", b_to_a=Direction(rate_bps=1_000_000))
    info = topology.linkInfo("laptop", "bs")
    assert info["params2"] == {"ip": "10.0.2.1/24", "bw": 1.0}
    assert info["params1"]["bw"] == 2.0


def test_description_does_without_mininets_network():
    """Only names and links are needed to describe a network, and no tool of Mininet's."""
    code = "import sys, topologies; assert 'mininet.node' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
