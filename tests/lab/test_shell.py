# SPDX-License-Identifier: Apache-2.0
"""`testbed shell` is Mininet's command line on our live network."""

import os
import pty
import select
import subprocess
import time

import pytest

from tests.lab.conftest import TESTBED

TIMEOUT_S = 120


@pytest.fixture
def shell(kernel):
    """Run `testbed shell underground` and return the finished process."""

    def run(*commands, options=(), **kwargs):
        argv = [TESTBED, "shell", "underground", *options]
        argv += [part for line in commands for part in ("--command", line)]
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, **kwargs)

    return run


def test_network_is_ours(shell):
    done = shell("nodes", "net", "links", "py laptop.IP()", "dump")

    assert done.returncode == 0, done.stderr
    assert "ap bs core laptop origin proxy" in done.stdout
    assert "laptop wlan0:ap-laptop cell0:bs-laptop" in done.stdout
    assert "proxy-origin<->origin-proxy (OK OK)" in done.stdout
    assert "\n10.0.1.2\n" in done.stdout
    # Nobody has used a node, so none has a shell.
    assert done.stdout.count("pid=None") == 6


def test_links_have_their_delays_and_paths_their_routes(shell):
    done = shell(
        "laptop ping -c 1 proxy",
        "laptop ping -c 1 -I cell0 proxy",
        options=["--virtual-time", "--set", "links.3g.one_way_delay=10 ms"],
    )

    times_ms = [float(part.split(" ")[0]) for part in done.stdout.split("time=")[1:]]
    assert [round(time_ms, 1) for time_ms in times_ms] == [20.2, 20.7]


def test_mininets_own_measurements(shell):
    done = shell("pingall 1", "iperf laptop proxy", options=["--virtual-time"])

    assert "laptop -> ap bs core proxy X" in done.stdout
    assert "*** Results: 26% dropped (22/30 received)" in done.stdout
    server_mbps = float(done.stdout.split("*** Results: ['")[1].split(" ")[0])
    assert 7.0 < server_mbps < 8.0


def test_state_stays_between_commands(shell):
    done = shell("laptop cd /usr", "laptop x=$(pwd)", "laptop echo $x on $HOSTNAME", "ap pwd")

    assert done.stdout.startswith("/usr on ")


def test_commands_on_standard_input(shell):
    """They end with the input or with `exit`, and no node reads them."""
    done = shell(stdin=None, input="laptop cat /proc/sys/net/ipv4/ip_forward\nexit\nnodes\n")

    assert (done.returncode, done.stdout) == (0, "0\n")


def test_exit_status_is_that_of_the_first_command_that_failed(shell):
    """The others are carried out all the same, and find the status where a shell has it."""
    done = shell("laptop true", "laptop (exit 5)", "laptop echo was $?", "sh exit 4", "nosuch")
    assert (done.returncode, "was 5\n" in done.stdout) == (5, True)

    assert shell("nodes", "sh exit 4", "laptop false").returncode == 4
    assert shell("laptop sleep 0 &", "nosuch").returncode == 127


def test_ending_it_leaves_nothing(kernel, tmp_path):
    argv = [TESTBED, "shell", "underground", "--command", "laptop echo it runs; sleep 300"]
    env = {**os.environ, "TMPDIR": tmp_path}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as running:
        said, there = running.stdout.readline(), [*tmp_path.iterdir()]
        running.terminate()
        running.communicate(timeout=TIMEOUT_S)

    assert (said.split(), len(there)) == ([b"it", b"runs"], 1)
    assert (running.returncode, [*tmp_path.iterdir()]) == (130, [])


def test_wrong_topology(shell):
    done = subprocess.run([TESTBED, "shell", "undergrund"], capture_output=True, text=True)

    assert done.returncode == 2
    assert done.stderr == (
        'testbed: topology: "undergrund" is not a topology (did you mean "underground"?)\n'
    )


def test_terminal(kernel):
    """A person can type, interrupt what runs, and end with Ctrl-D."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(TESTBED, ["testbed", "shell", "underground"])
    assert "mininet>" in read_until(terminal, "mininet>")
    os.write(terminal, b"laptop ping proxy\r")
    read_until(terminal, "icmp_seq=2")
    os.write(terminal, b"\x03")
    assert "packets transmitted" in read_until(terminal, "mininet>")
    os.write(terminal, b"\x04")

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def read_until(terminal, wanted):
    """Return what a terminal shows until it shows something."""
    said, deadline = "", time.monotonic() + TIMEOUT_S
    while wanted not in said:
        left_s = max(deadline - time.monotonic(), 0)
        assert select.select([terminal], [], [], left_s)[0], said
        said += os.read(terminal, 4096).decode()
    return said
