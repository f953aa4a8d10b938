# SPDX-License-Identifier: Apache-2.0
"""Fat trees, VL2 and leaf-spine: sizes, wiring, and a way for every pair of addresses."""

import ipaddress
import itertools

import pytest

from testbed.errors import PlanError
from testbed.topology.spare import spare_pairs
from topologies import TOPOLOGIES

DATACENTERS = {
    "fat_tree": {"k": 4, "spare_ports": 1},
    "dual_homed_fat_tree": {"k": 4, "spare_ports": 1},
    "vl2": {"spare_ports": 2},
    "leaf_spine": {"spare_ports": 3, "subflows": 16},
}


def plain(name, **parameters):
    return TOPOLOGIES[name](**parameters).plain()


class Router:
    """Follows packets through a network as plain data, by its routes, rules and addresses."""

    def __init__(self, plain):
        self.plain = plain
        self.peer = {}
        for one in plain["links"]:
            self.peer[one["a"], one["a_interface"]] = (one["b"], one["name"])
            self.peer[one["b"], one["b_interface"]] = (one["a"], one["name"])
        self.holder = {
            entry["address"]: node
            for node, entries in plain["addresses"].items()
            for entry in entries
        }

    def ways(self, source, target):
        """Return every list of links that a packet may take, each ECMP choice one of them."""
        return list(self._from(self.holder[source], source, target, []))

    def _from(self, node, source, target, links):
        assert len(links) < 9, f"a loop: {links}"
        if self.holder[target] == node:
            yield links
            return
        table = next(
            (r["table"] for r in self.plain["rules"].get(node, []) if r["from"] == source), None
        )
        entry = self._lookup(node, target, table) or self._lookup(node, target, None)
        for hop in entry.get("next_hops") or [entry]:
            other, link = self.peer[node, hop["interface"]]
            yield from self._from(other, source, target, [*links, link])

    def _lookup(self, node, target, table):
        fitting = [
            entry
            for entry in self.plain["routes"][node]
            if entry.get("table") == table
            and ipaddress.ip_address(target)
            in ipaddress.ip_network(f"{entry['destination']}/{entry['prefix_length']}")
        ]
        return max(fitting, key=lambda entry: entry["prefix_length"], default=None)


@pytest.mark.parametrize(
    ("name", "parameters", "hosts", "switches", "links"),
    [
        ("fat_tree", {"k": 4}, 16, 20, 48),
        ("fat_tree", {"k": 8}, 128, 80, 384),
        ("fat_tree", {"k": 4, "spare_ports": 1}, 16, 20, 56),
        ("fat_tree", {"k": 4, "oversubscription": 2}, 32, 20, 64),
        ("dual_homed_fat_tree", {"k": 4}, 8, 20, 48),
        ("vl2", {"ports": 4, "servers_per_rack": 4}, 16, 10, 32),
        ("leaf_spine", {"leaves": 3, "spines": 2, "servers_per_leaf": 5}, 15, 5, 21),
    ],
)
def test_sizes(name, parameters, hosts, switches, links):
    found = plain(name, **parameters)
    kinds = [node["kind"] for node in found["nodes"]]
    assert (kinds.count("host"), kinds.count("router"), len(found["links"])) == (
        hosts,
        switches,
        links,
    )


@pytest.mark.parametrize(("name", "parameters"), DATACENTERS.items())
def test_every_pair_of_addresses_leads_to_its_server(name, parameters):
    """Over all choices of all switches; and never twice over a link."""
    found = plain(name, **parameters)
    router = Router(found)
    hosts = list(found["datacenter"]["hosts"])
    for source, target in ((hosts[0], hosts[1]), (hosts[0], hosts[-1]), (hosts[-1], hosts[2])):
        addresses = [
            [one["address"] for one in found["addresses"][host]] for host in (source, target)
        ]
        for pair in itertools.product(*addresses):
            ways = router.ways(*pair)
            assert ways and all(len(way) == len(set(way)) for way in ways), pair


def test_port_addresses_name_the_ports_that_are_used():
    """Own or neighbour's uplink by the source, own or neighbour's downlink by the target."""
    found = plain("fat_tree", k=4, spare_ports=1)
    router, addresses = Router(found), found["addresses"]
    (own, borrowed, announced), (far_own, _, far_announced) = (
        [one["address"] for one in addresses[host]] for host in ("h0", "h4")
    )
    for source, target, first, last in (
        (own, far_own, ["h0-e0.0"], ["h4-e1.0"]),
        (borrowed, far_own, ["h0-h1", "h1-e0.0"], ["h4-e1.0"]),
        (own, far_announced, ["h0-e0.0"], ["h5-e1.0", "h4-h5"]),
        (borrowed, far_announced, ["h0-h1", "h1-e0.0"], ["h5-e1.0", "h4-h5"]),
        (announced, far_own, ["h0-h1", "h1-e0.0"], ["h4-e1.0"]),
    ):
        for way in router.ways(source, target):
            assert way[: len(first)] == first
            assert way[-len(last) :] == last


def test_neighbours_use_the_cable_between_them():
    found = plain("fat_tree", k=4, spare_ports=1)
    router = Router(found)
    (own, borrowed, _), (far, _, far_announced) = (
        [one["address"] for one in found["addresses"][host]] for host in ("h0", "h1")
    )
    assert router.ways(own, far) == [["h0-e0.0", "h1-e0.0"]]
    assert router.ways(borrowed, far) == [["h0-h1"]]
    assert router.ways(own, far_announced) == [["h0-h1"]]


def test_all_cores_are_on_some_way():
    found = plain("fat_tree", k=4)
    router = Router(found)
    first, last = (found["datacenter"]["hosts"][host]["address"] for host in ("h0", "h15"))
    used = {link for way in router.ways(first, last) for link in way}
    assert {link.split("-")[1] for link in used if "-c" in link} == {"c0", "c1", "c2", "c3"}
    assert len(router.ways(first, last)) == 4


def test_addresses_are_different_and_not_those_of_links():
    found = plain("fat_tree", k=8, spare_ports=3, subflows=16)
    given = [one["address"] for entries in found["addresses"].values() for one in entries]
    given += [one[f"{side}_address"] for one in found["links"] for side in "ab"]
    assert len(given) == len(set(given))


@pytest.mark.parametrize(
    ("subflows", "spare_ports", "local", "announced"),
    [(1, 0, 1, 0), (8, 0, 8, 0), (1, 1, 2, 1), (8, 1, 4, 1), (8, 3, 4, 3), (9, 2, 3, 2)],
)
def test_subflows_are_shared_out_among_pairs_of_ports(subflows, spare_ports, local, announced):
    host = plain("leaf_spine", servers_per_leaf=12, subflows=subflows, spare_ports=spare_ports)
    host = host["datacenter"]["hosts"]["h0"]
    assert (host["local_addresses"], host["announced_addresses"]) == (local, announced)
    assert local * (1 + announced) >= subflows


def test_endpoints_of_a_server():
    found = plain("fat_tree", k=4, spare_ports=1)["endpoints"]["h0"]
    assert [one["flags"] for one in found] == [
        ["subflow", "fullmesh"],
        ["subflow", "fullmesh"],
        ["signal"],
    ]
    assert [one["identifier"] for one in found] == [1, 2, 3]
    assert plain("fat_tree", k=4)["endpoints"]["h0"] == []  # its only address needs none


def test_only_servers_with_spare_ports_forward():
    assert plain("fat_tree", k=4)["sysctls"] == {}
    found = plain("fat_tree", k=4, spare_ports=1)["sysctls"]
    assert found == {f"h{n}": {"net.ipv4.ip_forward": 1} for n in range(16)}


@pytest.mark.parametrize(("k", "rate"), [(4, 100e6), (6, 100e6), (8, 10e6)])
def test_large_trees_have_a_tenth_of_the_rate(k, rate):
    assert plain("fat_tree", k=k)["datacenter"]["nic_bps"] == rate
    assert plain("fat_tree", k=k, rate="1 Gbit/s")["datacenter"]["nic_bps"] == 1e9


@pytest.mark.parametrize(
    ("servers", "spare_ports", "expected"),
    [
        ("ab", 1, ["ab"]),
        ("abcde", 1, ["ab", "cd"]),
        ("abc", 2, ["ab", "ac", "bc"]),
        ("abcd", 2, ["ab", "bc", "cd", "da"]),
        ("abcd", 3, ["ab", "ac", "ad", "bc", "bd", "cd"]),
        ("abcdef", 3, ["ab", "bc", "cd", "de", "ef", "fa", "ad", "be", "cf"]),
    ],
)
def test_wiring_of_spare_ports(servers, spare_ports, expected):
    assert ["".join(pair) for pair in spare_pairs(servers, spare_ports)] == expected


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("fat_tree", {"k": 5}, "k is 5; the ports of a fat tree's switch are an even number"),
        ("fat_tree", {"k": 0}, "k is 0"),
        ("dual_homed_fat_tree", {"k": 6}, "k is 6; .* a multiple of 4"),
        ("fat_tree", {"k": 4, "spare_ports": 2}, "spare_ports is 2, but a rack has 2 servers"),
        ("fat_tree", {"k": 16, "spare_ports": 4}, "a server has 0 to 3"),
        ("leaf_spine", {"servers_per_leaf": 5, "spare_ports": 3}, "has to be even"),
        ("fat_tree", {"k": 8, "subflows": 66}, "the kernel allows 65 per connection"),
        ("fat_tree", {"k": 8, "subflows": 65, "spare_ports": 1}, "each of 4 pairs of ports"),
        ("fat_tree", {"subflows": 0}, "subflows is 0"),
        ("fat_tree", {"queue_packets": 0}, "queue_packets is 0"),
        ("fat_tree", {"rate": "fast"}, '"fast" is not a quantity'),
        ("fat_tree", {"oversubscription": 0}, "oversubscription is 0"),
        ("fat_tree", {"k": 16, "oversubscription": 8, "subflows": 8}, "more than 254 addresses"),
        ("fat_tree", {"k": 36}, "addresses for the links of k = 34"),
        ("vl2", {"ports": 3}, "ports is 3"),
        ("vl2", {"fabric_speedup": 0}, "fabric_speedup is 0"),
        ("leaf_spine", {"spines": 0}, "spines is 0"),
        ("leaf_spine", {"leaves": 1, "servers_per_leaf": 1}, "at least two servers"),
    ],
)
def test_what_makes_no_network_is_refused(name, parameters, said):
    with pytest.raises(PlanError, match=said):
        plain(name, **parameters)
