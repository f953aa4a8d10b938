# SPDX-License-Identifier: Apache-2.0
"""A virtual machine of the tests' own, beside whatever the user has.

`./setup box` builds its box, which takes root; where there is none the tests are skipped. The
tests of our own kernel want a box of their own, whose kernel takes a quarter of an hour, so
they are not part of `make test`:

    testbed kernel build --for vm && testbed vm build-box --kernel ours
    TESTBED_OWN_KERNEL=1 .venv/bin/python -m pytest tests/vm/test_own_kernel.py

TESTBED_VM_PROVIDER chooses the provider; qemu, which needs no root, unless it says another.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.errors import PrerequisiteError
from testbed.vm.box import find_box

TESTBED = Path(sys.executable).with_name("testbed")
collect_ignore = [] if os.environ.get("TESTBED_OWN_KERNEL") else ["test_own_kernel.py"]
PROVIDER = os.environ.get("TESTBED_VM_PROVIDER", "qemu")


@contextmanager
def own_state(state: Path) -> Iterator[Callable[..., "subprocess.CompletedProcess[str]"]]:
    """Give a function that runs `testbed` with a state of its own; its machine is removed."""

    def call(*arguments, timeout_s=1200):
        return subprocess.run(
            [TESTBED, *map(str, arguments)],
            env={**os.environ, "XDG_STATE_HOME": str(state)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    yield call
    done = call("vm", "destroy", "--json")
    assert done.returncode == 0, done.stderr
    assert not list(state.rglob("*.qcow2"))


def bring_up(testbed, kernel: str, name: str):
    """Return what `testbed vm up` says of the machine, which runs."""
    try:
        find_box(kernel)
    except PrerequisiteError as error:
        pytest.skip(str(error))
    done = testbed("vm", "up", "--kernel", kernel, "--provider", PROVIDER, "--name", name, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def testbed(tmp_path_factory):
    """Run `testbed` with a state of its own and return the finished process."""
    with own_state(tmp_path_factory.mktemp("state")) as call:
        yield call


@pytest.fixture(scope="session")
def machine(testbed):
    """The machine with Debian's kernel."""
    return bring_up(testbed, "backports", "mptcp-testbed-test")
