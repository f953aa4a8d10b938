# SPDX-License-Identifier: Apache-2.0
"""Which sysctls are written node by node, so that nodes that are otherwise alike are made alike."""

from testbed.emulation.network import merge_sysctls
from testbed.emulation.node import own_keys

SEED, POLICY = "net.ipv4.fib_multipath_hash_seed", "net.ipv4.fib_multipath_hash_policy"


def test_seeds_of_switches_are_their_own_and_the_policy_is_shared():
    asked = {f"s{number}": {SEED: 1000 + number, POLICY: 3} for number in range(20)}
    assert own_keys({**asked, "*": {"net.mptcp.enabled": 1}}) == {SEED}


def test_what_one_node_has_alone_makes_a_group_of_its_own():
    assert own_keys({"r1": {POLICY: 1}}) == set()
    assert own_keys({}) == set()


def test_the_run_goes_before_the_network():
    network, run = {"h0": {"a": 1, "b": 1}}, {"*": {"c": 1}, "h0": {"b": 2}}
    assert merge_sysctls(network, run) == {"*": {"c": 1}, "h0": {"a": 1, "b": 2}}
