# SPDX-License-Identifier: Apache-2.0
"""The base of all topologies: names, addresses and routes."""

import json
from ipaddress import ip_address, ip_network
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import PlanError
from testbed.topology import Direction, Topology
from topologies.underground import Underground


def chain(*names):
    """Return a topology of nodes in a row."""
    topology = Topology()
    for name in names:
        topology.add_router(name)
    for number, (a, b) in enumerate(zip(names, names[1:], strict=False)):
        topology.add_link(f"l{number}", a, b)
    return topology


def test_two_nodes_of_one_name():
    topology = chain("a")
    with pytest.raises(PlanError) as caught:
        topology.add_host("a")
    assert str(caught.value) == 'two nodes are called "a"; give each a name of its own'


def test_two_links_of_one_name():
    topology = chain("a", "b", "c")
    with pytest.raises(PlanError, match='^two links are called "l0"; give each a name of its own$'):
        topology.add_link("l0", "b", "c")


def test_two_paths_of_one_name():
    topology = chain("a", "b")
    (link,) = topology.typed_links
    topology.add_path("wifi", "a", link, to="b")
    with pytest.raises(PlanError, match='^two paths are called "wifi"; give'):
        topology.add_path("wifi", "a", link, to="b")


def test_two_interfaces_of_one_name():
    """Two links between the same nodes need names for their interfaces."""
    topology = chain("a", "b")
    with pytest.raises(PlanError) as caught:
        topology.add_link("second", "a", "b")
    assert str(caught.value) == (
        'two interfaces of the node "a" are called "a-b"; '
        'name the one of the link "second" differently'
    )
    topology.add_link("second", "a", "b", a_interface="a-b2", b_interface="b-a2")


def test_link_to_a_node_that_is_none():
    topology = chain("a")
    with pytest.raises(PlanError, match=r'ends at "typo", which is not a node \(there are a\)$'):
        topology.add_link("x", "a", "typo")


def test_path_by_a_link_of_others():
    topology = chain("a", "b", "c")
    with pytest.raises(PlanError) as caught:
        topology.add_path("wifi", "c", topology.typed_links[0], to="a")
    assert str(caught.value) == (
        'the path "wifi" leaves "c" by the link "l0", which connects "a" and "b"'
    )


def test_path_to_a_node_that_is_none():
    topology = chain("proxy", "b")
    with pytest.raises(PlanError) as caught:
        topology.add_path("wifi", "b", topology.typed_links[0], to="prxy")
    assert str(caught.value) == (
        'the path "wifi" leads to "prxy", which is not a node (did you mean "proxy"?)'
    )


def test_path_that_is_not_connected():
    topology = chain("a", "b")
    topology.add_host("alone")
    topology.add_path("wifi", "a", topology.typed_links[0], to="alone")
    with pytest.raises(PlanError) as caught:
        topology.plain()
    assert str(caught.value) == (
        'the path "wifi" leaves "a" by the link "l0", from where "alone" cannot be reached'
    )


def test_path_that_would_lead_back():
    """A path that needs its own client to forward is none."""
    topology = chain("far", "b")
    topology.add_host("client")
    topology.add_link("wifi", "client", "b")
    stub = topology.add_link("stub", "client", topology.add_router("c"))
    topology.add_path("3g", "client", stub, to="far")
    with pytest.raises(PlanError, match='"3g" leaves .* from where "far" cannot be reached$'):
        topology.plain()


def test_path_against_the_direction_of_its_links():
    topology = chain("a", "b", "c")
    topology.add_path("p", "c", topology.typed_links[1], to="a")
    assert topology.plain()["paths"][0]["hops"] == [["l1", "b_to_a"], ["l0", "b_to_a"]]


def test_route_passes_no_host():
    """A host does not forward: the way around it is longer, but it is the way."""
    topology = chain("a", "b", "c", "d", "e")
    host = topology.add_host("host")
    topology.add_link("up", host, "a")
    topology.add_link("down", host, "d")
    (route,) = [r for r in topology.plain()["routes"]["a"] if r["destination"] == "10.0.4.0"]
    assert route["interface"] == "a-b"


def test_route_enters_a_network_by_its_router():
    """A host two networks away is nearer, but does not let anything through to the other end."""
    (route,) = [
        route
        for route in Underground().plain()["routes"]["ap"]
        if route["destination"] == "10.0.2.0"
    ]
    assert route["interface"] == "ap-core"


def test_shape():
    """What is not given stays, and so does the place of the link."""
    topology = chain("a", "b", "c")
    slow, lossy = Direction(rate_bps=1), Direction(loss_fraction=0.5)
    topology.shape("l0", a_to_b=slow)
    topology.shape("l0", b_to_a=lossy)
    first, second = topology.plain()["links"]
    assert (first["name"], second["name"]) == ("l0", "l1")
    assert (first["a_to_b"]["rate_bps"], first["b_to_a"]["loss_fraction"]) == (1, 0.5)


def test_shape_a_link_that_is_none():
    topology = Underground()
    with pytest.raises(PlanError) as caught:
        topology.shape("wify", a_to_b=Direction())
    assert str(caught.value) == ('"wify" is not a link of this network (did you mean "wifi"?)')


def test_link_of_a_node_with_itself():
    topology = chain("a")
    with pytest.raises(PlanError, match='^the link "x" connects "a" with itself$'):
        topology.add_link("x", "a", "a")


@pytest.mark.parametrize("names", [("abcdefgh", "1234567"), ("1234567", "abcdefgh")])
def test_interface_name_over_15_characters(names):
    """Both ends of a link are named after both of its nodes: 15 characters fit, 16 do not."""
    a, b = names
    with pytest.raises(PlanError) as caught:
        chain(a, b)
    assert str(caught.value) == (
        f'the interface name "{a}-{b}" has more than 15 characters; '
        "shorten it or the names of its nodes"
    )
    assert chain(a[:-1], b).typed_links[0].a_interface == f"{a[:-1]}-{b}"


def test_unconnected_node():
    topology = chain("a", "b")
    topology.add_host("alone")
    with pytest.raises(PlanError, match='^the node "alone" cannot reach the link "l0"$'):
        topology.plain()


def test_addresses_go_by_rule():
    """The n-th link is 10.<n / 256>.<n % 256>.0/24, .2 on its first side and .1 on the other."""
    links = chain(*(f"n{number}" for number in range(259))).typed_links
    addresses = [(link.a_address, link.b_address) for link in links]
    assert addresses[0] == ("10.0.1.2", "10.0.1.1")
    assert addresses[254] == ("10.0.255.2", "10.0.255.1")
    assert addresses[255] == ("10.1.0.2", "10.1.0.1")
    assert len(set(addresses)) == 258


def test_mininet_sees_the_same_network():
    """It is a Mininet topology: names and addresses of its interfaces are those of ours."""
    topology = chain("a", "b")
    assert topology.nodes() == ["a", "b"]
    ((_, _, info),) = topology.links(withInfo=True)
    assert (info["intfName1"], info["params1"]) == ("a-b", {"ip": "10.0.1.2/24"})
    assert (info["intfName2"], info["params2"]) == ("b-a", {"ip": "10.0.1.1/24"})


def test_plain_is_json():
    topology = chain("a", "b", "c")
    topology.add_path("p", "a", topology.typed_links[0], to="c")
    plain = topology.plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["nodes"][0] == {"name": "a", "kind": "router"}
    assert plain["paths"] == [
        {
            "name": "p",
            "node": "a",
            "interface": "a-b",
            "address": "10.0.1.2",
            "addresses": ["10.0.1.2"],
            "to": "c",
            "hops": [["l0", "a_to_b"], ["l1", "a_to_b"]],
        }
    ]


def test_route_leads_by_the_next_hop():
    topology = chain("a", "b", "c")
    assert topology.plain()["routes"] == {
        "a": [
            {
                "destination": "10.0.2.0",
                "prefix_length": 24,
                "interface": "a-b",
                "gateway": "10.0.1.1",
            }
        ],
        "b": [],
        "c": [
            {
                "destination": "10.0.1.0",
                "prefix_length": 24,
                "interface": "c-b",
                "gateway": "10.0.2.2",
            }
        ],
    }


def test_node_with_paths_has_no_routes():
    """Its routes come and go with its addresses."""
    topology = chain("a", "b", "c")
    topology.add_path("p", "a", topology.typed_links[0], to="c")
    assert topology.plain()["routes"]["a"] == []


@st.composite
def networks(draw):
    """Draw a connected network: a random tree with some links more."""
    count = draw(st.integers(2, 8))
    pairs = {(draw(st.integers(0, node - 1)), node) for node in range(1, count)}
    more = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    pairs |= {tuple(sorted(pair)) for pair in draw(st.lists(more, max_size=6)) if len({*pair}) == 2}
    topology = Topology()
    for node in range(count):
        topology.add_router(f"n{node}")
    for number, (a, b) in enumerate(sorted(pairs)):
        topology.add_link(f"l{number}", f"n{a}", f"n{b}")
    return topology


@given(networks())
def test_routes_are_complete_and_shortest(topology):
    """From every node, following the routes hop by hop takes the fewest links to any network."""
    plain = topology.plain()
    owner = {link[f"{side}_address"]: link[side] for link in plain["links"] for side in "ab"}
    for link in plain["links"]:
        network = link["a_address"].rpartition(".")[0] + ".0"
        distance = distances(plain["links"], {link["a"], link["b"]})
        for node in plain["routes"]:
            routes = [r for r in plain["routes"][node] if r["destination"] == network]
            assert len(routes) == (distance[node] > 0)
            for route in routes:
                assert distance[owner[route["gateway"]]] == distance[node] - 1


@given(networks())
def test_fewest_routes_lead_the_same_way(topology):
    """As few routes as possible: the longest prefix that fits leads where the full table does."""
    full = topology.plain()
    with patch("testbed.topology.routes.MAX_ROUTES", 0):
        few = topology.plain()
    for node in topology.kinds:
        assert len(few["routes"][node]) <= len(full["routes"][node])
        for link in few["links"]:
            if node not in (link["a"], link["b"]):
                target = link["a_address"]
                assert next_hop(few["routes"][node], target) == next_hop(
                    full["routes"][node], target
                )


@given(networks(), st.sampled_from([0, 1000]))
def test_every_route_arrives_without_a_loop(topology, max_routes):
    with patch("testbed.topology.routes.MAX_ROUTES", max_routes):
        plain = topology.plain()
    owner = {link[f"{side}_address"]: link[side] for link in plain["links"] for side in "ab"}
    for target, end in owner.items():
        neighbours = {n for link in plain["links"] if target in link.values() for n in ends(link)}
        for start in plain["routes"]:
            passed, here = [], start
            while here not in neighbours:
                passed.append(here)
                here = owner[next_hop(plain["routes"][here], target)[1]]
                assert here not in passed
            assert end in neighbours


def ends(link):
    return link["a"], link["b"]


def next_hop(routes, address):
    """Return interface and gateway of the route with the longest prefix that fits."""
    fitting = [
        route
        for route in routes
        if ip_address(address) in ip_network(f"{route['destination']}/{route['prefix_length']}")
    ]
    best = max(fitting, key=lambda route: route["prefix_length"])
    return best["interface"], best["gateway"]


def test_large_network_has_few_routes():
    """A node at the end of 99 links has a single route, and none reaches beyond the network."""
    topology = chain(*(f"n{number}" for number in range(100)))
    (route,) = topology.plain()["routes"]["n0"]
    assert (route["destination"], route["prefix_length"]) == ("10.0.0.0", 17)
    assert len(topology.plain()["routes"]["n50"]) < 20


def distances(links, start):
    """Return the number of links from each node to a set of nodes."""
    found = dict.fromkeys(start, 0)
    while True:
        before = len(found)
        for a, b in [(link["a"], link["b"]) for link in links]:
            for here, there in ((a, b), (b, a)):
                if here in found and found.get(there, 99) > found[here] + 1:
                    found[there] = found[here] + 1
                    before = -1
        if len(found) == before:
            return found
