# SPDX-License-Identifier: Apache-2.0
"""The machine with our own kernel: what it has, and a run with it."""

import json

import pytest

from tests.vm.conftest import bring_up, own_state

pytestmark = pytest.mark.timeout(1800)

LOOK = """\
uname -r
cat /proc/sys/net/ipv4/tcp_available_congestion_control
for module in openvswitch mac80211_hwsim ifb e1000; do
    sudo modprobe $module && echo $module
done
systemctl is-system-running
"""


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    """Run `testbed` with a state beside that of the machine with Debian's kernel."""
    with own_state(tmp_path_factory.mktemp("own")) as call:
        yield call


@pytest.fixture(scope="module")
def machine(testbed):
    """The machine with our own kernel."""
    return bring_up(testbed, "ours", "mptcp-testbed-own")


def test_kernel_has_what_it_was_built_for(testbed, machine):
    """Coupled congestion control, what is built in and is known to modprobe, and no failed unit."""
    done = testbed("vm", "ssh", LOOK)
    release, controls, *others = done.stdout.split("\n")

    assert "-testbed-" in release
    assert {"lia", "olia", "balia"} <= set(controls.split())
    assert others[:-1] == ["openvswitch", "mac80211_hwsim", "ifb", "e1000", "running"]


def test_offload_runs_with_olia_over_lab_link(testbed, machine, tmp_path):
    """A short download over two paths whose links are the lab's."""
    short = ["--mode", "mptcp-full", "--size", "4MB", "--duration", "20s", "--cc", "olia"]
    where = ["--backend", "vagrant", "--out", tmp_path, "--json"]
    [run] = json.loads(testbed("offload", *short, *where).stdout)["runs"]

    assert run["status"] == "complete", run["error"]
    assert min(run["bytes_per_path"].values()) > 100_000
    [manifest] = tmp_path.rglob("manifest.json")
    assert json.loads(manifest.read_text())["links"] == "lab_link"
