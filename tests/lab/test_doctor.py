# SPDX-License-Identifier: Apache-2.0
"""On a machine that can run the tests, `testbed doctor` finds nothing missing."""

import json
import subprocess

from tests.lab.conftest import TESTBED


def test_the_doctor_boots_a_lab_and_is_content(kernel):
    done = subprocess.run([TESTBED, "doctor", "--json"], capture_output=True, check=False)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}

    assert done.returncode == 0, done.stdout
    assert checks["boot"]["status"] == "ok"
    assert checks["lab kernel"]["status"] == "ok"
