# SPDX-License-Identifier: Apache-2.0
"""A virtual machine of the tests' own, beside whatever the user has.

`./setup box` builds its box, which takes root; where there is none the tests are skipped.
TESTBED_VM_PROVIDER chooses the provider; qemu, which needs no root, unless it says another.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import PrerequisiteError
from testbed.vm.box import find_box

TESTBED = Path(sys.executable).with_name("testbed")
PROVIDER = os.environ.get("TESTBED_VM_PROVIDER", "qemu")


@pytest.fixture(scope="session")
def testbed(tmp_path_factory):
    """Run `testbed` with a state of its own and return the finished process."""
    state = tmp_path_factory.mktemp("state")

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


@pytest.fixture(scope="session")
def machine(testbed):
    """What `testbed vm up` says of the machine, which runs."""
    try:
        find_box()
    except PrerequisiteError as error:
        pytest.skip(str(error))
    done = testbed("vm", "up", "--provider", PROVIDER, "--name", "mptcp-testbed-test", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
