# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from click.testing import CliRunner

from testbed.cli.main import testbed as root_command
from testbed.cli.progress import Lines
from testbed.errors import SpecError
from testbed.lab import kernel as kernels
from tests.unit.kernel_fakes import make_checkout, make_tree


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    """Give each test a cache and a checkout of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "PROJECT_ROOT", make_checkout(tmp_path / "checkout"))
    monkeypatch.setattr(kernels, "BUILD_BYTES", 0)


def invoke(*arguments: str):
    return CliRunner().invoke(root_command, ["kernel", *arguments], catch_exceptions=False)


def test_second_build_does_nothing(tmp_path):
    """A kernel that is there is not built again, unless --force asks for it."""
    source = str(make_tree(tmp_path / "linux"))
    first = invoke("build", "--source", source)
    assert "is ready" in first.output
    again = invoke("build", "--source", source)
    assert "is already built" in again.output
    assert "compile" not in again.output
    assert "compile" in invoke("build", "--force", "--source", source).output


def test_path_is_that_of_the_kernel(tmp_path):
    """The path can be used in a command line."""
    invoke("build", "--source", str(make_tree(tmp_path / "linux")))
    path = invoke("path").output
    assert path == f"{kernels.find_kernel().path}\n"


def test_list_marks_the_current_kernel(tmp_path):
    """Both forms of the list say which kernel this checkout uses."""
    assert "no lab kernel has been built" in invoke("list").output
    assert json.loads(invoke("list", "--json").output) == []
    invoke("build", "--source", str(make_tree(tmp_path / "linux")))
    (record,) = json.loads(invoke("list", "--json").output)
    assert record["is_current"] is True
    assert invoke("list").output.startswith(f"* {record['id']}  ")


def test_source_and_suite_exclude_each_other(tmp_path):
    """Two origins are a mistake in the command line."""
    result = invoke("build", "--source", str(tmp_path), "--suite", "forky")
    assert result.exit_code == 2
    assert "exclude each other" in result.output


def test_wrong_source_is_refused_even_if_a_kernel_is_there(tmp_path):
    """A wrong --source is reported, not ignored because there is nothing to do."""
    invoke("build", "--source", str(make_tree(tmp_path / "linux")))
    with pytest.raises(SpecError, match="does not exist"):
        invoke("build", "--source", str(tmp_path / "nothing"))


def test_lines_come_now_and_then():
    """A log gets a line per stage, and one every 15 s of a long stage."""
    now_s = 0.0
    written: list[str] = []
    lines = Lines(clock=lambda: now_s, write=written.append)
    lines("unpack", None)
    for now_s in range(1, 62):
        lines("compile", now_s / 100)
    assert written == [
        "[0:00] unpack",
        "[0:01] compile 1%",
        "[0:16] compile 16%",
        "[0:31] compile 31%",
        "[0:46] compile 46%",
        "[1:01] compile 61%",
    ]
