# SPDX-License-Identifier: Apache-2.0
"""The lab ends with its controller, whatever ends the controller, and leaves nothing."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.conftest import TESTBED

MOMENTS = 50
LONGEST_S = 0.5
GONE_WITHIN_S = 5.0


def processes_with(word):
    """Return the ids of the processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def leftovers():
    """Return what a lab could leave behind, apart from processes."""
    places = [Path("/dev/shm"), Path("/tmp"), Path.home() / ".uml"]
    found = {p for place in places if place.exists() for p in place.glob("mptcp-testbed*")}
    found |= set(Path("/dev/shm").iterdir())
    return found | {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}


def start(seed, *options):
    return subprocess.Popen(
        [TESTBED, "lab", "exec", "--seed", str(seed), *options, "--", "sleep", "600"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def is_before_our_first_line(said):
    """Whether the interpreter itself was interrupted, while it started."""
    return b"testbed/cli/__init__.py" not in said


def wait_until_gone(word):
    deadline = time.monotonic() + GONE_WITHIN_S
    while processes_with(word) and time.monotonic() < deadline:
        time.sleep(0.02)
    return processes_with(word)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killing_the_controller_at_any_moment_leaves_nothing(kernel, number):
    generator = random.Random(number)
    before = leftovers()
    for moment in range(MOMENTS if number == signal.SIGKILL else MOMENTS // 5):
        # A seed of its own makes the lab's processes findable.
        seed = 10**9 + number * 1000 + moment
        process = start(seed, "--real-time")
        time.sleep(generator.uniform(0, LONGEST_S))
        process.send_signal(number)
        _, said = process.communicate()

        assert b"Traceback" not in said or is_before_our_first_line(said)

        assert wait_until_gone(f"testbed.seed={seed}") == [], f"moment {moment}"
    deadline = time.monotonic() + GONE_WITHIN_S
    while leftovers() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert before == leftovers()


def test_interrupting_ends_with_130_and_one_sentence(kernel):
    process = start(10**9 + 1, "--real-time")
    while not processes_with(f"testbed.seed={10**9 + 1}"):
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert (process.returncode, said.strip()) == (130, b"testbed: interrupted")


def test_the_lab_ends_with_its_warden_too(kernel):
    seed = 10**9 + 2
    before = leftovers()
    process = start(seed, "--real-time")
    deadline = time.monotonic() + 20
    while len(processes_with(f"testbed.seed={seed}")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    (warden,) = [
        pid for pid in processes_with(f"testbed.seed={seed}") if _parent(pid) == process.pid
    ]
    os.kill(warden, signal.SIGKILL)
    process.communicate(timeout=20)

    assert process.returncode != 0
    assert before == leftovers()
    assert wait_until_gone(f"testbed.seed={seed}") == []


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
