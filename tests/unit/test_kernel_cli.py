# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from testbed.cli.main import testbed as root_command
from testbed.cli.progress import Lines
from testbed.errors import SpecError
from testbed.lab import kernel as kernels
from testbed.lab import leases
from testbed.lab.kinds import KINDS, VM
from tests.unit.kernel_fakes import make_checkout, make_tree


@pytest.fixture(autouse=True)
def own_world(tmp_path, monkeypatch):
    """Give each test a cache and a checkout of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "PROJECT_ROOT", make_checkout(tmp_path / "checkout"))
    for name, kind in KINDS.items():
        monkeypatch.setitem(KINDS, name, replace(kind, build_bytes=0, headers={}))


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


def test_each_kind_has_a_list_and_a_path_of_its_own(tmp_path):
    """A kernel for virtual machines is not taken for the lab's, nor the other way round."""
    said = invoke("build", "--for", "vm", "--source", str(make_tree(tmp_path / "linux"))).output
    assert said.endswith("/linux-image.deb\n")
    assert invoke("path", "--for", "vm").output == f"{kernels.find_kernel(VM).path}\n"
    assert "no lab kernel has been built" in invoke("list").output
    (record,) = json.loads(invoke("list", "--for", "vm", "--json").output)
    assert record["is_current"] is True


def test_list_marks_the_current_kernel(tmp_path):
    """Both forms of the list say which kernel this checkout uses."""
    assert "no lab kernel has been built" in invoke("list").output
    assert json.loads(invoke("list", "--json").output) == []
    invoke("build", "--source", str(make_tree(tmp_path / "linux")))
    (record,) = json.loads(invoke("list", "--json").output)
    assert record["is_current"] is True
    assert invoke("list").output.startswith(f"* {record['id']}  ")


def test_prune_removes_what_neither_the_checkout_nor_a_command_uses(tmp_path):
    source = str(make_tree(tmp_path / "linux"))
    invoke("build", "--source", source)
    (old,) = kernels.list_kernels()
    (kernels.PROJECT_ROOT / "kernel/modules/lab.h").write_text("another state\n")
    invoke("build", "--source", source)
    leases.release_all()
    _, new = kernels.list_kernels()

    assert "1 of them is not used by this checkout" in invoke("list").output
    assert invoke("prune", "--dry-run").output == f"would remove Linux {old.id} (0 MB)\n"
    assert leases.hold(old.path.parent)
    assert invoke("prune").output == f"kept Linux {old.id} (0 MB): a running command uses it\n"
    leases.release_all()
    assert invoke("prune").output == f"removed Linux {old.id} (0 MB)\n"
    assert kernels.list_kernels() == [new]
    assert {path.name for path in new.path.parents[1].iterdir()} == {".lock", new.id}


def test_a_damaged_kernel_is_none(tmp_path):
    """What a full disk or a person left of a kernel is built again."""
    source = str(make_tree(tmp_path / "linux"))
    invoke("build", "--source", source)
    (one,) = kernels.list_kernels()
    for damage in (one.path.unlink, lambda: (one.path.parent / "info.json").write_text("{")):
        damage()
        assert kernels.list_kernels() == []
        assert "is ready" in invoke("build", "--source", source).output
        assert kernels.list_kernels()[0].id == one.id


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
