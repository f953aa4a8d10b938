# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that boot the lab."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import PrerequisiteError
from testbed.lab.kernel import find_kernel

HERE = Path(__file__).parent
TESTBED = Path(sys.executable).with_name("testbed")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("lab")


@pytest.fixture(scope="session")
def kernel():
    """The lab kernel of this checkout."""
    try:
        return find_kernel()
    except PrerequisiteError as error:
        pytest.skip(str(error))


@pytest.fixture
def lab_exec(kernel):
    """Run `testbed lab exec` and return the finished process."""

    def run(*command, options=(), timeout_s=120, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [TESTBED, "lab", "exec", *options, "--", *map(str, command)],
            capture_output=True,
            timeout=timeout_s,
            **kwargs,
        )

    return run


@pytest.fixture
def in_guest(lab_exec):
    """Run a function of tests/lab/guest.py in the lab and return what it returns."""

    def run(function, *arguments, options=()):
        done = lab_exec(
            sys.executable,
            "-P",
            HERE / "guest.py",
            function,
            json.dumps(arguments),
            options=options,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run
