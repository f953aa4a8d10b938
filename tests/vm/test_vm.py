# SPDX-License-Identifier: Apache-2.0
import json
import subprocess

import pytest

pytestmark = pytest.mark.timeout(1800)

# What is in the machine's kernel, and which tools there are, in one line each.
LOOK = """\
cat /proc/sys/net/mptcp/enabled
for module in sch_netem sch_tbf openvswitch mac80211_hwsim; do
    sudo modprobe -n $module && echo $module
done
for tool in mn iperf3 squid mptcpize tcpdump python3 bpftool; do
    sudo which $tool
done
"""

CHOOSE = """\
sudo bpftool struct_ops register /usr/local/lib/mptcp-testbed/lia.bpf.o >/dev/null
sudo ip netns add chooser
sudo ip netns exec chooser sysctl -n -w net.ipv4.tcp_congestion_control=lia
sudo ip netns del chooser
sudo bpftool struct_ops unregister name lia >/dev/null
cat /proc/sys/net/ipv4/tcp_available_congestion_control
"""


def inside(testbed, line):
    done = testbed("vm", "ssh", line)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_machine_has_what_runs_need(testbed, machine):
    """MPTCP, netem, Open vSwitch, hwsim, Mininet, iperf3, Squid, mptcpize, tcpdump, python3."""
    assert machine["state"] == "running"
    found = inside(testbed, LOOK)

    assert found[:5] == ["1", "sch_netem", "sch_tbf", "openvswitch", "mac80211_hwsim"]
    names = [path.rpartition("/")[2] for path in found[5:] if path]
    assert names == ["mn", "iperf3", "squid", "mptcpize", "tcpdump", "python3", "bpftool"]


def test_coupled_congestion_control_can_be_loaded_chosen_and_removed(testbed, machine):
    assert inside(testbed, CHOOSE)[:2] == ["lia", "reno cubic"]


def test_another_host_key_is_refused(testbed, machine, tmp_path):
    """Somebody else at the machine's address is not taken for the machine."""
    argv = json.loads(testbed("vm", "ssh", "--json").stdout)["argv"]
    wrong = next(word for word in argv if word.startswith("UserKnownHostsFile="))
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"mptcp-testbed-vm ssh-ed25519 {'A' * 68}\n")

    argv[argv.index(wrong)] = f"UserKnownHostsFile={known_hosts}"
    done = subprocess.run([*argv, "true"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_offload_runs_in_the_machine_with_lia(testbed, machine, tmp_path):
    """A short download over two paths: complete, over both, and judged."""
    short = ["--mode", "mptcp-full", "--size", "4MB", "--duration", "40s", "--cc", "lia"]
    ride = ["--set", "ride.dwell=40 s", "--set", "ride.stations=2"]
    where = ["--backend", "vagrant", "--out", tmp_path, "--json"]
    [run] = json.loads(testbed("offload", *short, *ride, *where).stdout)["runs"]

    assert run["status"] == "complete", run
    assert min(run["bytes_per_path"].values()) > 100_000
    assert not [reason for reason in run["verdict_reasons"] if "congestion control" in reason]
    assert inside(testbed, "cat /proc/sys/net/ipv4/tcp_available_congestion_control") == [
        "reno cubic",
        "",
    ]


def test_machine_that_was_shut_down_comes_up_again(testbed, machine):
    assert json.loads(testbed("vm", "halt", "--json").stdout)["state"] == "off"
    assert testbed("vm", "ssh", "true").returncode == 3
    again = json.loads(testbed("vm", "up", "--json").stdout)

    assert (again["state"], again["host_key"]) == ("running", machine["host_key"])
