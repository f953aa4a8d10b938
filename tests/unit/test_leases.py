# SPDX-License-Identifier: Apache-2.0
"""The cache keeps what is in use and a few of the newest; what is held stays."""

import os
import subprocess
import sys
import threading
import time

import pytest

from testbed.backends.target_code import target_code
from testbed.lab import leases

HOLD = """
import sys, pathlib
from testbed.lab.leases import hold
assert hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_held():
    yield
    leases.release_all()


def make(folder, name, hours_ago):
    """Make a folder with something in it that was used so long ago."""
    path = folder / name
    path.mkdir()
    (path / "file").touch()
    then = time.time() - 3600 * hours_ago
    os.utime(path, (then, then))
    return path


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_newest_few_stay(tmp_path):
    for number in range(9):
        make(tmp_path, str(number), hours_ago=2 + number)
    leases.remove_old(tmp_path.iterdir())

    assert names(tmp_path) == {str(number) for number in range(leases.KEPT)}


def test_what_was_used_lately_stays_however_much_it_is(tmp_path):
    for number in range(9):
        make(tmp_path, str(number), hours_ago=0.5)
    leases.remove_old(tmp_path.iterdir())

    assert len(names(tmp_path)) == 9


def test_what_a_killed_command_was_making_goes_and_counts_for_nothing(tmp_path):
    for number in range(leases.KEPT):
        make(tmp_path, f".target-{number}", hours_ago=2)
        make(tmp_path, str(number), hours_ago=3)
    leases.remove_old(tmp_path.iterdir())

    assert names(tmp_path) == {str(number) for number in range(leases.KEPT)}


def test_what_another_command_holds_stays_until_that_is_killed(tmp_path):
    for number in range(9):
        make(tmp_path, str(number), hours_ago=2 + number)
    oldest = tmp_path / "8"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, oldest], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        os.utime(oldest, (0, 0))
        leases.remove_old(tmp_path.iterdir())
        assert oldest.exists()
        assert not leases.remove_unheld(oldest)
        holder.kill()
    leases.remove_old(tmp_path.iterdir())

    assert not oldest.exists()


def test_use_is_noted_without_a_change_that_the_guest_could_see(tmp_path):
    path = make(tmp_path, "used", hours_ago=5)
    before = path.stat()

    assert leases.hold(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_atime > time.time() - 60


def test_what_was_removed_and_made_again_is_held_again(tmp_path):
    path = tmp_path / "program"
    assert not leases.hold(path)
    path.touch()
    assert leases.hold(path)
    path.unlink()
    assert not leases.hold(path)
    path.touch()

    assert leases.hold(path)
    assert not leases.remove_unheld(path)


def test_commands_that_make_and_remove_at_once_always_have_their_folder(tmp_path, monkeypatch):
    """Whoever got a folder has all of it, while others remove whatever they may."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    over, removed = threading.Event(), []

    def remove():
        while not over.is_set():
            for path in (tmp_path / "mptcp-testbed/target").glob("[!.]*"):
                removed.append(leases.remove_unheld(path))
            time.sleep(0.001)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for number in range(5):
            code = target_code(f"/run/{number}")
            assert (code / "testbed/runner.py").exists()
            assert (code / "testbed/workloads/origin.py").exists()
            assert leases.hold(code)
            if number % 2:
                leases.release_all()
    finally:
        over.set()
        remover.join()
    assert any(removed)


def test_old_versions_of_the_code_go_when_a_new_one_comes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = tmp_path / "mptcp-testbed/target"
    target.mkdir(parents=True)
    for number in range(86):
        make(target, f"{number:016x}", hours_ago=2 + number)
    code = target_code("/run/code")

    assert names(target) == {code.name} | {f"{number:016x}" for number in range(leases.KEPT - 1)}
