# SPDX-License-Identifier: Apache-2.0
"""The description of the underground; how it behaves is tested in the lab."""

import pytest

from testbed.topology import Direction
from topologies.underground import CELL, WIFI, Underground, topos


@pytest.fixture
def plain():
    return Underground().plain()


def link(plain, name):
    return next(link for link in plain["links"] if link["name"] == name)


def test_nodes(plain):
    kinds = {node["name"]: node["kind"] for node in plain["nodes"]}
    assert kinds == {
        "laptop": "host",
        "ap": "router",
        "bs": "router",
        "core": "router",
        "proxy": "host",
        "origin": "host",
    }


def test_laptop_has_two_paths(plain):
    found = [(p["name"], p["node"], p["interface"], p["address"]) for p in plain["paths"]]
    assert found == [
        ("wifi", "laptop", "wlan0", "10.0.1.2"),
        ("3g", "laptop", "cell0", "10.0.2.2"),
    ]


def test_paths_lead_to_the_proxy(plain):
    assert [(path["to"], path["hops"]) for path in plain["paths"]] == [
        ("proxy", [["wifi", "a_to_b"], ["ap-core", "a_to_b"], ["core-proxy", "a_to_b"]]),
        ("proxy", [["3g", "a_to_b"], ["bs-core", "a_to_b"], ["core-proxy", "a_to_b"]]),
    ]


def test_paths_meet_in_the_core_only(plain):
    """Losing one access link leaves the other path whole."""
    ends = {frozenset((link["a"], link["b"])) for link in plain["links"]}
    assert ends == {
        frozenset(pair)
        for pair in (
            ("laptop", "ap"),
            ("laptop", "bs"),
            ("ap", "core"),
            ("bs", "core"),
            ("core", "proxy"),
            ("proxy", "origin"),
        )
    }


def test_properties_are_those_of_the_paper(plain):
    """Raiciu et al.: WiFi 8 Mbit/s with 80 ms of buffer, 3G 2 Mbit/s with 2 s of buffer."""
    assert WIFI.queue_bytes * 8 / WIFI.rate_bps == pytest.approx(0.080)
    assert CELL.queue_bytes * 8 / CELL.rate_bps == pytest.approx(2.0)
    assert (2 * WIFI.one_way_delay_s, 2 * CELL.one_way_delay_s) == (0.020, 0.150)


def test_only_the_access_links_are_shaped():
    topology = Underground()
    shaped = [one.name for one in topology.typed_links if one.a_to_b != Direction()]
    assert shaped == [one.name for one in topology.typed_links if one.b_to_a != Direction()]
    assert shaped == ["wifi", "3g"]


def test_directions_are_told_apart():
    """Up is from the laptop, which is the first side of its links."""
    given = [Direction(rate_bps=rate) for rate in (1, 2, 3, 4)]
    plain = Underground(
        wifi_up=given[0], wifi_down=given[1], cell_up=given[2], cell_down=given[3]
    ).plain()
    rates = [
        link(plain, name)[direction]["rate_bps"]
        for name in ("wifi", "3g")
        for direction in ("a_to_b", "b_to_a")
    ]
    assert rates == [1, 2, 3, 4]
    assert link(plain, "wifi")["a"] == link(plain, "3g")["a"] == "laptop"


def test_found_by_mininet():
    """`mn --custom topologies/underground.py --topo underground` works."""
    assert topos == {"underground": Underground}
