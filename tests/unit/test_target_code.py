# SPDX-License-Identifier: Apache-2.0
"""The folder that the target gets is complete, and made once per content."""

import subprocess
import sys

import pytest

from testbed.backends import target_code


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return target_code.target_code("/run/code")


def test_the_runner_needs_nothing_else(code):
    """Neither the rest of the project nor any installed package is imported."""
    program = "import testbed.runner, testbed.workloads.origin; print(testbed.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-s", "-P", "-c", program],
        env={"PYTHONPATH": str(code)},
        cwd="/",
        capture_output=True,
        text=True,
    )

    assert done.stderr == ""
    assert done.stdout.strip() == str(code / "testbed" / "__init__.py")


def test_the_same_content_is_made_once(code):
    before = code.stat().st_mtime_ns

    assert target_code.target_code("/run/code") == code
    assert code.stat().st_mtime_ns == before


def test_nothing_of_the_controller_is_in_it(code):
    names = {path.name for path in (code / "testbed").iterdir()}

    assert names.isdisjoint(
        {"cli", "lab", "backends", "spec", "plan", "topology", "orchestrate.py"}
    )


def test_every_module_is_compiled(code):
    sources = {path.stem for path in code.rglob("*.py")}

    assert sources == {path.name.partition(".")[0] for path in code.rglob("*.pyc")}
