# SPDX-License-Identifier: Apache-2.0
"""Two datacenters: what is near to what, and how far."""

from topologies.wide_area import WideArea


def test_both_paths_of_the_machine_lead_to_the_client():
    plain = WideArea().plain()
    hops = {path["name"]: [name for name, _ in path["hops"]] for path in plain["paths"]}
    assert hops == {"a": ["a", "wan", "edge", "client"], "b": ["b", "edge", "client"]}
    assert {path["node"] for path in plain["paths"]} == {"vm"}


def test_each_datacenter_has_its_own_prefix():
    addresses = [path["address"].rpartition(".")[0] for path in WideArea().plain()["paths"]]
    assert len(set(addresses)) == 2


def test_a_tunnel_fits_into_the_wide_area_link():
    links = {link["name"]: link for link in WideArea().plain()["links"]}
    assert links["wan"]["mtu_bytes"] == 1500 + 20
    assert links["a"]["mtu_bytes"] is None
