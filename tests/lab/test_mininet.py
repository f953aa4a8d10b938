# SPDX-License-Identifier: Apache-2.0
"""Mininet's own command runs the topologies: mn --custom topologies/underground.py."""

import shutil
import sys
from pathlib import Path

import pytest

from testbed.lab.kernel import PROJECT_ROOT

MN = Path(sys.executable).with_name("mn")
# mn gives what it reads from a pipe to the nodes, so its commands come from a file.
START = 'printf "%s\\n" "$@" > /tmp/commands; exec {} --pre /tmp/commands </dev/null 2>&1'


@pytest.fixture
def mn(lab_exec):
    """Run commands in mn's shell in the lab and return all that it prints."""
    if shutil.which("mnexec") is None:
        pytest.skip("mn needs mnexec: apt-get install mininet")

    def run(*commands, options=(), lab_options=()):
        argv = [sys.executable, MN, "--custom", "topologies/underground.py", "--topo"]
        argv += ["underground", "--controller", "none", *options]
        script = START.format(" ".join(map(str, argv)))
        argv = ["env", "PYTHONPATH=.", "bash", "-c", script, "-", *commands]
        done = lab_exec(*argv, options=lab_options, cwd=PROJECT_ROOT)
        assert done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    return run


def test_every_pair_that_is_connected_reaches_each_other(mn):
    """The proxy does not forward: only it has a way to the origin."""
    said = mn("pingall 1")

    reached = dict(line.split(" -> ", 1) for line in said.splitlines() if " -> " in line)
    inside = {"ap", "bs", "core", "laptop", "proxy"}
    for node in inside:
        assert inside - set(reached[node].split()) == {node}, node
    assert reached["origin"].split() == ["X", "X", "X", "X", "proxy"]


def test_laptop_has_both_of_its_ways_out(mn):
    said = mn("laptop ping -c 1 -W 2 -I wlan0 proxy", "laptop ping -c 1 -W 2 -I cell0 proxy")

    assert said.count("1 packets transmitted, 1 received") == 2
    assert "from 10.0.1.2 wlan0" in said
    assert "from 10.0.2.2 cell0" in said


def test_tc_link_has_the_delay_of_the_topology(mn):
    """In real time: in virtual time, Mininet's waiting for tc takes minutes."""
    said = mn(
        "laptop ping -c 2 -I cell0 proxy", options=["--link", "tc"], lab_options=["--real-time"]
    )

    # The first one waits for the neighbours to be resolved, too.
    _, rtt_ms = [line.split("time=")[1] for line in said.splitlines() if "time=" in line]
    assert 150.0 <= float(rtt_ms.removesuffix(" ms")) < 200.0
    assert "2.00Mbit 75ms delay" in said
    assert "Error" not in said
