# SPDX-License-Identifier: Apache-2.0
"""A processor is lent to one lab at a time."""

import os
import subprocess
import sys

import pytest

from testbed.lab import processors
from testbed.lab.processors import own_processor

OURS = sorted(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "cache_dir", lambda: tmp_path)
    return tmp_path


def test_each_lab_gets_a_processor_until_there_is_none_left():
    lent = [own_processor() for _ in range(len(OURS) + 1)]
    assert [one.__enter__() for one in lent] == [*OURS, None]
    for one in lent:
        one.__exit__(None, None, None)
    with own_processor() as cpu:
        assert cpu == OURS[0]


def test_processor_of_a_process_that_was_killed_is_free_again(cache):
    program = f"""
import pathlib, time
from testbed.lab import processors
processors.cache_dir = lambda: pathlib.Path({str(cache)!r})
with processors.own_processor() as cpu:
    print(cpu, flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert int(other.stdout.readline()) == OURS[0]
    with own_processor() as cpu:
        assert cpu != OURS[0]
    other.kill()
    other.communicate()
    with own_processor() as cpu:
        assert cpu == OURS[0]


def test_without_a_place_for_locks_no_processor_is_lent(cache):
    (cache / "processors").write_text("a file, not a folder")
    with own_processor() as cpu:
        assert cpu is None
