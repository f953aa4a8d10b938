# SPDX-License-Identifier: Apache-2.0
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from testbed.errors import BackendError, PrerequisiteError, SpecError
from testbed.lab import kernel as kernels
from testbed.lab.cache import remove_folder
from testbed.lab.kernel import (
    build_kernel,
    build_lock,
    check_buildable,
    find_additions,
    find_kernel,
    list_kernels,
)
from testbed.lab.kinds import LAB, VM, is_for_processes
from testbed.lab.source import Source, local_source
from testbed.lab.toolchain import missing_from_toolchain
from tests.unit.kernel_fakes import make_checkout, make_tree


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mptcp-testbed"


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    root = make_checkout(tmp_path / "checkout")
    monkeypatch.setattr(kernels, "PROJECT_ROOT", root)
    return root


def ignore(stage: str, fraction: float | None) -> None:
    pass


def build(source: Source, report=ignore, kind=LAB):
    with build_lock(report):
        return build_kernel(source, jobs=1, report=report, kind=kind)


def leftovers(cache: Path) -> list[str]:
    found = [*cache.glob("*kernels/.build-*"), *cache.glob("sources/.fetch-*")]
    return [path.name for path in found]


def test_kernel_is_built_from_a_folder(tmp_path, cache, checkout):
    """Patches and modules are in the kernel, and its record says where it came from."""
    built = build(local_source(make_tree(tmp_path / "linux")))
    assert built.path.read_text().startswith("patched\nmodule\n")
    assert os.access(built.path, os.X_OK)
    assert built.config.read_text() == "CONFIG_NET=y\n"
    assert (built.release, built.source) == ("7.3.4", "linux")
    assert built.path.parent == cache / "kernels" / built.id
    assert find_kernel() == built
    assert leftovers(cache) == []


def test_users_tree_is_not_changed(tmp_path, cache, checkout):
    """A build works on a copy of the user's tree."""
    tree = make_tree(tmp_path / "linux")
    (tree / ".config").write_text("the user's own")
    build(local_source(tree))
    assert (tree / "lab.c").read_text() == "original\n"
    assert (tree / ".config").read_text() == "the user's own"
    assert not (tree / "linux").exists()


def test_kernel_is_built_from_a_tarball(tmp_path, cache, checkout):
    """A tarball has one folder, of whatever name."""
    make_tree(tmp_path / "linux-7.3.4")
    tarball = shutil.make_archive(str(tmp_path / "source"), "xztar", tmp_path, "linux-7.3.4")
    assert build(local_source(Path(tarball))).source == "source.tar.xz"


def test_same_source_gives_the_same_kernel(tmp_path, cache, checkout, monkeypatch):
    """Neither the user's environment nor the place of the build is in the kernel or its id."""
    source = local_source(make_tree(tmp_path / "linux"))
    first = build(source)
    monkeypatch.setenv("KBUILD_BUILD_USER", "somebody")
    monkeypatch.setenv("MAKEFLAGS", "-k")
    second = build(source)
    assert second.id == first.id
    assert len(list_kernels()) == 1


def test_changed_additions_need_another_kernel(tmp_path, cache, checkout):
    """A kernel is found only by a checkout whose kernel/ it was built with."""
    built = build(local_source(make_tree(tmp_path / "linux")))
    header = checkout / "kernel/modules/lab.h"
    header.write_text("changed\n")
    with pytest.raises(PrerequisiteError, match="run 'testbed kernel build'"):
        find_kernel()
    header.write_text("module\n")
    assert find_kernel() == built


def test_edit_during_the_build_is_not_recorded(tmp_path, cache, checkout):
    """A kernel belongs to the additions that were built, not to those at the end of the build."""

    def edit(stage: str, fraction: float | None) -> None:
        (checkout / "kernel/modules/lab.h").write_text("edited meanwhile\n")

    built = build(local_source(make_tree(tmp_path / "linux")), report=edit)
    assert built.path.read_text().startswith("patched\nmodule\n")
    with pytest.raises(PrerequisiteError):
        find_kernel()


def test_kernel_for_machines_is_a_package(tmp_path, cache, checkout):
    """It has the files that Debian's hooks look for, under the name that the kernel says."""
    built = build(local_source(make_tree(tmp_path / "linux")), kind=VM)
    assert built.path == cache / "vm-kernels" / built.id / "linux-image.deb"
    assert built.release == f"7.3.4-testbed-{built.additions[:8]}"
    root = tmp_path / "root"
    subprocess.run(["dpkg-deb", "--raw-extract", built.path, root], check=True)
    image = (root / f"boot/vmlinuz-{built.release}").read_text()
    assert image.startswith("patched\nmodule\n")
    assert f"LOCALVERSION={built.release.removeprefix('7.3.4')}" in image
    assert (root / f"boot/config-{built.release}").read_text() == "CONFIG_NET=y\nCONFIG_PCI=y\n"
    modules = root / f"usr/lib/modules/{built.release}"
    assert (modules / "modules.builtin").read_text() == "kernel/net/a.ko\n"
    assert f"depmod {built.release}\n" in (root / "DEBIAN/postinst").read_text()
    for script in ("postinst", "postrm"):
        subprocess.run(["sh", "-n", root / "DEBIAN" / script], check=True)


def test_same_source_gives_the_same_package(tmp_path, cache, checkout):
    """Neither the time nor the place of a build is in the package."""
    source = local_source(make_tree(tmp_path / "linux"))
    first = build(source, kind=VM)
    time.sleep(1.1)  # time stamps in archives are of whole seconds
    assert build(source, kind=VM).id == first.id


def test_lab_kernel_does_not_depend_on_what_machines_get(tmp_path, cache, checkout):
    """A fragment for machines makes no lab kernel stale, and a patch for processes no machine's."""
    source = local_source(make_tree(tmp_path / "linux"))
    lab, machine = build(source), build(source, kind=VM)
    fragment = checkout / "kernel/config/vm/machine.config"
    before = fragment.read_text()
    fragment.write_text("CONFIG_PCI=y\nCONFIG_USB=y\n")
    assert find_kernel() == lab
    with pytest.raises(PrerequisiteError, match="run 'testbed kernel build --for vm'"):
        find_kernel(VM)
    fragment.write_text(before)
    patch = "--- a/arch/um/a.c\n+++ b/arch/um/a.c\n@@ -1 +1 @@\n-a\n+b\n"
    (checkout / "kernel/patches/0002-um.patch").write_text(patch)
    assert find_kernel(VM) == machine
    with pytest.raises(PrerequisiteError, match="run 'testbed kernel build'"):
        find_kernel()


def test_package_that_cannot_be_made_is_a_failed_build(tmp_path, cache, checkout):
    """What make did not write is missed before anything is kept."""
    tree = make_tree(tmp_path / "linux")
    makefile = tree / "Makefile"
    makefile.write_text(makefile.read_text().replace("System.map", "another.map"))
    with pytest.raises(BackendError, match=r"build made no System\.map"):
        build(local_source(tree), kind=VM)
    assert leftovers(cache) == []


def test_only_patches_of_user_mode_linux_are_left_out():
    """A machine gets what changes the network and the random numbers."""
    ours = find_additions(LAB).patches
    left_out = [path.name[:4] for path in ours if is_for_processes(path.read_text())]
    assert left_out == ["0002", "0004", "0005", "0007"]
    assert [path.name[:4] for path in find_additions(VM).patches] == [
        "0001",
        "0003",
        "0006",
        "0008",
    ]


def test_newest_kernel_of_the_checkout_is_found(tmp_path, cache, checkout):
    """Among kernels with the same additions the one that was built last is used."""
    older = build(local_source(make_tree(tmp_path / "a")))
    record = json.loads((older.path.parent / "info.json").read_text())
    newer = shutil.copytree(older.path.parent, older.path.parent.with_name("7.4-newer"))
    later = {**record, "id": "7.4-newer", "built": "2999-01-01T00:00:00+00:00"}
    (newer / "info.json").write_text(json.dumps(later))
    assert find_kernel().id == "7.4-newer"
    assert [kernel.id for kernel in list_kernels()] == [older.id, "7.4-newer"]


def test_testbed_needs_its_checkout(cache, tmp_path, monkeypatch):
    """An installation without kernel/ says that it needs a checkout."""
    monkeypatch.setattr(kernels, "PROJECT_ROOT", tmp_path)
    with pytest.raises(PrerequisiteError, match="runs from a checkout"):
        find_kernel()


def test_compilers_error_is_shown_and_the_log_kept(tmp_path, cache, checkout):
    """A failed build quotes the compiler's first error, says where the log is, leaves no tree."""
    recipe = "echo 'net/a.c:5:1: error: odd' >&2; echo 'net/a.c:6:1: error: then' >&2; false"
    with pytest.raises(BackendError) as raised:
        build(local_source(make_tree(tmp_path / "linux", recipe=recipe)))
    (log,) = (cache / "logs").iterdir()
    expected = f"the kernel does not build: net/a.c:5:1: error: odd (log: {log})"
    assert str(raised.value) == expected
    assert "CC      init/main.o" in log.read_text()
    assert (list_kernels(), leftovers(cache)) == ([], [])


def test_full_disk_in_the_middle_is_one_sentence(tmp_path, cache, checkout):
    """A compiler that meets a full disk is reported as a full disk."""
    recipe = "echo 'cc1: fatal error: writing: No space left on device' >&2; false"
    with pytest.raises(PrerequisiteError, match="no space is left on the disk of"):
        build(local_source(make_tree(tmp_path / "linux", recipe=recipe)))
    assert leftovers(cache) == []


def test_full_disk_that_swallows_its_message_is_noticed(tmp_path, cache, checkout, monkeypatch):
    """A log on a full disk is empty; the room that is left tells the cause."""
    monkeypatch.setattr("testbed.lab.tree.is_full", lambda folder: True)
    with pytest.raises(PrerequisiteError, match="no space is left on the disk of"):
        build(local_source(make_tree(tmp_path / "linux", recipe="false")))


def test_patch_that_does_not_fit_is_named(tmp_path, cache, checkout):
    """A patch is applied exactly or not at all."""
    tree = make_tree(tmp_path / "linux", line="another line")
    with pytest.raises(BackendError, match=r"0001-change.patch does not fit Linux 7\.3\.4"):
        build(local_source(tree))


def test_symbols_that_kconfig_drops_are_named(tmp_path, cache, checkout):
    """A configuration that lacks what we want is not built."""
    fragment = checkout / "kernel/config/base.config"
    fragment.write_text("CONFIG_NET=y\nCONFIG_DROPPED=y\nCONFIG_DROPPED_TOO=y\n")
    with pytest.raises(BackendError, match="not accept CONFIG_DROPPED=y, CONFIG_DROPPED_TOO=y"):
        build(local_source(make_tree(tmp_path / "linux")))


def test_old_linux_is_refused(tmp_path, cache, checkout):
    """A kernel without seccomp mode is refused before it is copied."""
    tree = make_tree(tmp_path / "linux", version=(6, 12))
    with pytest.raises(SpecError, match=r"linux is Linux 6\.12\.4; the lab needs 6\.16"):
        build(local_source(tree))


def test_tarball_of_something_else_is_refused(tmp_path, cache, checkout):
    """A tarball that holds another project, or is none, is the user's mistake or a failure."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").touch()
    tarball = shutil.make_archive(str(tmp_path / "notes"), "gztar", tmp_path, "notes")
    with pytest.raises(SpecError, match="not a Linux source"):
        build(local_source(Path(tarball)))
    broken = tmp_path / "broken.tar.xz"
    broken.write_text("not compressed")
    with pytest.raises(BackendError, match=r"cannot unpack broken\.tar\.xz: tar: "):
        build(local_source(broken))
    assert leftovers(cache) == []


def test_interrupt_ends_the_compilers_and_leaves_nothing(tmp_path, cache, checkout):
    """Ctrl-C during the compilation ends make with its children and removes the tree."""
    pid_file = tmp_path / "pid"
    tree = make_tree(tmp_path / "linux", recipe=f"echo $$$$ > {pid_file}; sleep 300; true")
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pathlib import Path; import testbed.lab.kernel as k;"
        f"k.PROJECT_ROOT = Path({str(checkout)!r});"
        "from testbed.cli.main import main;"
        f"main(['kernel', 'build', '--source', {str(tree)!r}])"
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        shell = int(pid_file.read_text())
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert said.endswith(b"testbed: interrupted\n")
        assert leftovers(cache) == []
        wait_until(lambda pid=shell: not Path(f"/proc/{pid}").exists())
        pid_file.unlink()


def test_second_builder_waits_and_says_so(cache, checkout):
    """While another process builds, a second one says that it waits, and then goes on."""
    stages: list[str] = []
    (cache / "kernels").mkdir(parents=True)
    with (cache / "kernels/.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        entered = threading.Event()
        second = threading.Thread(target=take_lock, args=(stages, entered))
        second.start()
        wait_until(lambda: bool(stages))
        assert not entered.is_set()
        fcntl.flock(other, fcntl.LOCK_UN)
        second.join(timeout=10)
    assert entered.is_set()
    assert stages == ["wait for another build of a kernel"]


def take_lock(stages: list[str], entered: threading.Event) -> None:
    with build_lock(lambda stage, _: stages.append(stage)):
        entered.set()


def test_next_build_removes_what_a_killed_one_left(cache, checkout):
    """The tree of a builder that was killed goes when the next one has the lock."""
    stale = cache / "kernels/.build-dead/source"
    stale.mkdir(parents=True)
    (cache / "sources/.fetch-dead").mkdir(parents=True)
    with build_lock(ignore):
        assert leftovers(cache) == []


def test_folder_is_removed_while_files_appear(tmp_path, monkeypatch):
    """What a dying compiler still writes does not keep the folder alive."""
    folder = tmp_path / "busy"
    folder.mkdir()
    late_files = [folder / "late.o", folder / "later.o"]
    really_remove = shutil.rmtree

    def remove(path: Path, ignore_errors: bool) -> None:
        really_remove(path, ignore_errors=ignore_errors)
        if late_files:
            path.mkdir()
            late_files.pop().touch()

    monkeypatch.setattr(shutil, "rmtree", remove)
    remove_folder(folder)
    assert not folder.exists()


def test_full_disk_is_noticed_before_anything_is_fetched(cache, checkout):
    """Too little room is reported in numbers before the work begins."""
    with pytest.raises(PrerequisiteError, match=r"takes 1\.8 GB of disk and .* has 0\.5 GB"):
        check_buildable(free_bytes=lambda folder: 500_000_000)


def test_missing_tools_are_listed_at_once(cache, checkout, monkeypatch, tmp_path):
    """Without build tools the message has all of them and one command that installs them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError) as raised:
        check_buildable()
    assert "needs gcc, ld, make, flex, bison, bc, patch, tar, xz; run" in str(raised.value)
    assert "'apt-get install" not in str(raised.value), "there is no apt in that PATH"
    assert "bc bison build-essential flex patch tar xz-utils" in str(raised.value)


def test_machines_kernel_needs_more_tools(cache, checkout, monkeypatch, tmp_path):
    """objtool needs a library and the image a packer, which the lab kernel does without."""
    missing = missing_from_toolchain(which=lambda name: None, kind=VM)
    assert missing["zstd"] == "zstd"
    only_header = missing_from_toolchain(lambda name: name, lambda name: name == "stdio.h", VM)
    assert only_header == {"gelf.h": "libelf-dev"}


def test_missing_header_is_noticed():
    """A compiler without the C library's headers is not enough."""
    missing = missing_from_toolchain(which=lambda name: name, has_header=lambda name: False)
    assert missing == {"stdio.h": "build-essential"}


def wait_until(is_true, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)
