# SPDX-License-Identifier: Apache-2.0
"""A network is what was asked, on every node, however it was brought up."""

import json
import sys
from pathlib import Path

import pytest

GUEST = Path(__file__).with_name("network_guest.py")
OURS = {
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv6.conf.all.disable_ipv6": "1",
}


@pytest.fixture
def network_guest(lab_exec):
    def run(function, *arguments):
        done = lab_exec(sys.executable, "-P", GUEST, function, json.dumps(arguments))
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def test_cables_carry_the_first_packet_at_once(network_guest):
    """The kernel's link watch starts 100 interfaces per second; no link waits for it."""
    assert network_guest("first_packet_s", 220) < 0.001


@pytest.mark.parametrize("link", ["l0", "l1", "l2"])
def test_a_cable_can_be_cut_and_mended(network_guest, link):
    """Whether its ends are hosts or routers, and although it has no queue until then."""
    assert network_guest("cable_cut_and_mended", link, "a_to_b") == [[True, False, True], 1]


@pytest.mark.parametrize("is_at_sender", [False, True])
def test_a_sender_has_no_queue_of_its_own_unless_it_is_asked_for(network_guest, is_at_sender):
    """TCP would hear of what its own interface holds back, as of no link behind it."""
    uplink = "first" if is_at_sender else "r0"
    expected = [{"a_to_b": uplink, "b_to_a": "r0"}, is_at_sender]
    assert network_guest("where_queues_are", is_at_sender) == expected


def test_a_network_of_hundreds_of_links_forgets_nobody(network_guest):
    """All nodes share one table of neighbours, and one process has the descriptors of them all."""
    heard, never_forgotten = network_guest("greetings", 600)
    assert heard == 600
    assert never_forgotten >= 2 * 600


def test_every_node_has_its_sysctls_and_no_others(network_guest):
    """Nodes are made from inside one another, and yet what one has alone stays with it."""
    alone = {"net.ipv4.conf.all.log_martians": 1, "net.ipv4.conf.default.send_redirects": 1}
    wanted = {
        "*": {"net.ipv4.tcp_congestion_control": "reno", "net.ipv4.tcp_rmem": "4096 99999 999999"},
        "r1": alone,
    }
    names = [*OURS, "net.ipv4.ip_forward", "net.ipv4.conf.all.log_martians"]
    found = network_guest(
        "sysctls_of_nodes", [*names, "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_rmem"], wanted
    )

    assert list(found) == ["first", "r0", "r1", "r2", "last"]
    for name, values in found.items():
        expected = {
            **OURS,
            "net.ipv4.ip_forward": str(int(name.startswith("r"))),
            "net.ipv4.conf.all.log_martians": "0",
            "net.ipv4.tcp_congestion_control": "reno",
            "net.ipv4.tcp_rmem": "4096\t99999\t999999",
        }
        expected |= {key: str(value) for key, value in alone.items()} if name == "r1" else {}
        assert values == expected, name


@pytest.mark.parametrize(
    ("sysctl", "value", "said"),
    [
        ("net.mptcp.no_such_thing", 1, "no such file or directory"),
        ("net.mptcp.scheduler", "no-such-scheduler", "no such file or directory"),
        ("net.mptcp.enabled", 7, "invalid argument"),
    ],
)
def test_a_sysctl_that_is_refused_is_named(network_guest, sysctl, value, said):
    assert network_guest("refusals", {"*": {sysctl: value}}) == (
        f"the kernel refused {sysctl} = {value}: {said}"
    )
