# SPDX-License-Identifier: Apache-2.0
"""Plans of runs between the servers of a datacenter: patterns, flows, ECMP, and what is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import PlanError, SpecError
from testbed.plan import plan_run
from testbed.plan.traffic import permutation
from testbed.spec.load import parse_spec

SPEC = """\
schema: 1
name: grin
question: Does it plan?
topology: {name: fat_tree, parameters: {k: 4, spare_ports: 1}}
duration: 4 s
workload: {name: permutation}
"""


def plan(seed=1, **values):
    overrides = {key.replace("__", "."): value for key, value in values.items()}
    return plan_run(parse_spec(SPEC, "grin.yaml", overrides), seed)


def refused(**values):
    with pytest.raises((PlanError, SpecError)) as caught:
        plan(**values)
    return str(caught.value)


@given(st.integers(2, 60), st.floats(0.01, 1), st.integers(0, 2**32))
def test_a_permutation_is_one(count, active, seed):
    hosts = [f"h{n}" for n in range(count)]
    pairs = permutation(hosts, active, random.Random(seed))
    senders, receivers = zip(*pairs, strict=True)
    assert len(pairs) == max(1, round(active * count))
    assert len(set(senders)) == len(senders) and len(set(receivers)) == len(receivers)
    assert all(a != b for a, b in pairs)


def test_flows_of_a_permutation():
    flows = plan()["workload"]["flows"]
    assert len(flows) == 16
    for flow in flows:
        assert (flow["direction"], flow["transport"], flow["subflows"]) == ("up", "mptcp", 4)
        assert 0 <= flow["start_s"] <= 0.05
    assert len({flow["start_s"] for flow in flows}) == 16


def test_the_seed_governs_pairs_times_and_hashes():
    assert plan(seed=1) == plan(seed=1)
    one, other = plan(seed=1), plan(seed=2)
    ends = [[(f["client"], f["server"]) for f in p["workload"]["flows"]] for p in (one, other)]
    assert ends[0] != ends[1]
    assert one["sysctls"]["e0.0"] != other["sysctls"]["e0.0"]


def test_every_switch_hashes_ports_with_a_seed_of_its_own():
    """With one hash for all, every switch would choose alike and half the core would idle."""
    sysctls = plan()["sysctls"]
    switches = [f"{kind}{pod}.{number}" for kind in "ea" for pod in range(4) for number in (0, 1)]
    assert set(sysctls) == {"*", *switches}  # a core switch has no choice
    seeds = [sysctls[name]["net.ipv4.fib_multipath_hash_seed"] for name in switches]
    assert len(set(seeds)) == 16 and all(0 < seed < 2**31 for seed in seeds)
    for name in switches:
        assert sysctls[name]["net.ipv4.fib_multipath_hash_policy"] == 3
        assert sysctls[name]["net.ipv4.fib_multipath_hash_fields"] == 0x37


def test_tcp_uses_one_port_and_no_endpoints():
    found = plan(mode="tcp")
    assert found["transport"] == "tcp" and found["topology"]["endpoints"] == {}
    assert {flow["subflows"] for flow in found["workload"]["flows"]} == {0}


def test_some_flows_may_be_tcp():
    flows = plan(workload__tcp_fraction=0.25)["workload"]["flows"]
    assert sorted(flow["transport"] for flow in flows) == ["mptcp"] * 12 + ["tcp"] * 4
    assert {(flow["transport"], flow["port"]) for flow in flows} == {("mptcp", 5001), ("tcp", 5002)}


def test_limits_leave_room_for_all_subflows():
    assert plan()["mptcp"]["limits"] == {"subflows": 8, "add_addr_accepted": 1}
    assert plan(topology__parameters__subflows=64)["mptcp"]["limits"]["subflows"] == 64


@pytest.mark.parametrize(
    ("workload", "flows", "senders", "receivers"),
    [
        ({"name": "permutation", "active": 0.125}, 2, 2, 2),
        ({"name": "incast", "senders": 5}, 5, 5, 1),
        ({"name": "all_to_all", "servers": 4}, 12, 4, 4),
        ({"name": "shuffle", "mappers": 3, "reducers": 2}, 6, 3, 2),
    ],
)
def test_patterns(workload, flows, senders, receivers):
    found = plan(workload=workload)["workload"]
    ends = [(flow["client"], flow["server"]) for flow in found["flows"]]
    assert (found["name"], found["pattern"]) == ("bulk", workload["name"])
    assert len(ends) == len(set(ends)) == flows
    assert [len(set(side)) for side in zip(*ends, strict=True)] == [senders, receivers]
    assert found["active_fraction"] == senders / 16


def test_a_quarter_of_the_run_warms_up():
    assert plan()["workload"]["marks_s"] == [1.0]
    assert plan(workload__warm_up="2 s")["workload"]["marks_s"] == [2.0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"workload__active": 0}, "0 is not a fraction of the servers above 0 and up to 1"),
        ({"workload__active": 1.5}, "1.5 is not a fraction of the servers"),
        ({"workload": {"name": "bulk"}}, '"bulk" is between a client and a server'),
        ({"workload": {"name": "incast", "senders": 16}}, "needs 17 servers, but the network has"),
        ({"workload": {"name": "shuffle", "mappers": 15}}, "needs 19 servers"),
        ({"mode": "mptcp-backup"}, "is not a mode of this network"),
        ({"ride": {}}, "has no client whose paths could have any"),
        ({"workload__warm_up": "4 s"}, "have to end before the run"),
        ({"topology__parameters__spare_ports": 2}, "a rack has 2 servers"),
        ({"topology": "underground"}, '"permutation" is between the servers of a datacenter'),
    ],
)
def test_what_cannot_be_is_refused(values, said):
    assert said in refused(**values)
