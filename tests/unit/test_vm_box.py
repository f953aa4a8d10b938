# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import struct
import subprocess

import pytest

from testbed.errors import BackendError, PrerequisiteError
from testbed.vm import box as boxes
from testbed.vm.archive import Archive, choose_archive
from testbed.vm.box_commands import bootstrap_argv, stage_of_log, wanted_packages
from testbed.vm.box_kernel import BoxKernel, box_kernel, own_local_version
from testbed.vm.owner import Owner, acting_for, invoking_user
from testbed.vm.places import VAGRANT_FOLDER
from tests.unit.test_kernel_mirror import BOOKWORM, DEBIAN, NEVER_UPDATED, NOBLE, UBUNTU

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

LOG = """\
I: automatically chosen mode: root
I: running apt-get update...
I: downloading packages with apt...
I: extracting archives...
I: installing essential packages...
"""


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A box of this checkout's recipe, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = boxes.boxes_dir() / f"6.12-{boxes.recipe_hash()[:12]}"
    folder.mkdir(parents=True)
    (folder / "box.img").write_bytes(b"disk")
    (folder / "host.pub").write_text("ssh-ed25519 AAAA somebody@somewhere\n")
    record = {"id": folder.name, "kernel": "6.12", "built": "2026-01-01T00:00:00+00:00"}
    (folder / "info.json").write_text(json.dumps({**record, "files": {"box.img": 4}}))
    return folder


def test_box_of_this_recipe_is_found_with_its_key(box):
    found = boxes.find_box()

    assert (found.folder, found.kernel, found.size_bytes) == (box, "6.12", 4)
    assert found.host_key == "ssh-ed25519 AAAA"


def test_half_built_box_is_refused(box):
    """A box whose disk is not as long as it was built would boot into a broken machine."""
    (box / "box.img").write_bytes(b"di")

    with pytest.raises(PrerequisiteError, match=r"box\.img is not as .* 'testbed vm build-box"):
        boxes.find_box()


def test_box_of_another_recipe_is_not_found(box, monkeypatch):
    monkeypatch.setattr(boxes, "recipe_hash", lambda: "0" * 64)

    with pytest.raises(PrerequisiteError, match="no box has been built for this checkout"):
        boxes.find_box()


def test_build_that_was_killed_leaves_nothing(box):
    """What lies in the cache without its record is removed before the next build."""
    (boxes.boxes_dir() / ".build-old" / "root").mkdir(parents=True)

    with boxes.build_lock(lambda stage, fraction: None):
        assert [path.name for path in boxes.boxes_dir().glob(".build-*")] == []


def test_build_that_fails_keeps_its_log_and_no_box(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bad = ["sh", "-c", "echo 'E: unable to download packages' >&2; exit 25"]
    monkeypatch.setattr(boxes, "bootstrap_argv", lambda *_: bad)
    monkeypatch.setattr(boxes, "_make_key", lambda path: None)

    with pytest.raises(BackendError, match=r"exited 25 \(E: unable to download packages\)"):
        boxes.build_box(Archive("file:/nowhere", ""), BoxKernel("stable"), lambda *_: None)
    assert [path.name for path in boxes.boxes_dir().iterdir()] == ["failed.log"]


def test_archive_is_that_of_apt():
    found = choose_archive(DEBIAN, BOOKWORM)

    assert found.source_lines("backports") == [
        "deb http://mirror.example/debian/ trixie main",
        "deb http://mirror.example/debian/ trixie-updates main",
        "deb http://mirror.example/debian/ trixie-backports main",
        "deb http://security.example/debian-security/ trixie-security main",
    ]


def test_archive_is_found_where_apt_has_fetched_nothing_yet():
    assert choose_archive(NEVER_UPDATED, BOOKWORM).uri == "http://mirror.example/debian/"


def test_another_distribution_has_to_name_a_mirror():
    with pytest.raises(PrerequisiteError, match="--mirror"):
        choose_archive(UBUNTU, NOBLE)


def test_bootstrap_asks_for_the_kernel_of_the_suite(tmp_path):
    argv = bootstrap_argv(tmp_path, Archive("file:/m", ""), BoxKernel("backports"), tmp_path)

    include = next(word for word in argv if word.startswith("--include="))
    assert "linux-image-amd64/trixie-backports" in include
    assert "mptcpize" in include
    assert argv[-3:] == [f"deb file:/m {suite} main" for suite in
                         ("trixie", "trixie-updates", "trixie-backports")]  # fmt: skip


def test_our_own_kernel_is_there_before_the_boot_loader_is_told_of_it(tmp_path):
    """No kernel of Debian's is fetched for such a box, nor a list of backports."""
    kernel = BoxKernel("ours", tmp_path / "a kernel/linux-image.deb")
    argv = bootstrap_argv(tmp_path, Archive("file:/m", ""), kernel, tmp_path)

    include = next(word for word in argv if word.startswith("--include="))
    assert "linux-image" not in include
    hooks = [word for word in argv if word.startswith("--customize-hook=")]
    assert hooks[0] == f"--customize-hook=upload '{kernel.package}' /linux-image.deb"
    assert hooks[1].endswith('chroot "$1" dpkg --install /linux-image.deb')
    assert "box-customize.sh" in hooks[-1]
    assert argv[-2:] == [f"deb file:/m {suite} main" for suite in ("trixie", "trixie-updates")]


def test_box_with_our_kernel_belongs_to_the_kernels_folder_too(box):
    """After a change in kernel/ such a box is as good as not built; one of Debian's still is."""
    ours = add_box(box, f"7.3.4{own_local_version()}")
    assert boxes.find_box("ours").id == ours
    assert boxes.find_box().id == ours, "the newest"
    assert boxes.find_box("backports").folder == box
    shutil.rmtree(boxes.boxes_dir() / ours)
    add_box(box, "7.3.4-testbed-00000000")
    with pytest.raises(PrerequisiteError, match="'testbed vm build-box --kernel ours'"):
        boxes.find_box("ours")
    assert boxes.find_box().folder == box


def test_box_with_our_kernel_needs_that_kernel(box):
    with pytest.raises(PrerequisiteError, match="run 'testbed kernel build --for vm'"):
        box_kernel("ours")
    assert box_kernel("stable") == BoxKernel("stable")


def add_box(box, release):
    """Copy a box as one with a kernel of our own, which was built later, and return its name."""
    name = f"{release}-{boxes.recipe_hash()[:12]}"
    shutil.copytree(box, box.with_name(name))
    record = json.loads((box / "info.json").read_text())
    record |= {"id": name, "kernel": release, "kernel_from": "ours", "built": "2026-02-01"}
    (box.with_name(name) / "info.json").write_text(json.dumps(record))
    return name


def test_comments_in_the_list_of_packages_are_left_out():
    assert wanted_packages("# a\nsquid\ncurl # b\n\n") == ["squid", "curl"]


def test_stage_is_the_last_that_the_log_tells():
    assert stage_of_log(LOG) == "install the essential packages"
    assert stage_of_log("something else\n") is None


def test_folder_becomes_a_disk_with_a_boot_loader_and_a_partition(tmp_path):
    """The loader is in front of the partition, and the file system in it is whole."""
    root, disk = tmp_path / "root", tmp_path / "disk"
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/boot.img").write_bytes(b"B" * 512)
    (root / "boot/grub/core.img").write_bytes(b"C" * 700)
    script = VAGRANT_FOLDER / "box-disk.sh"
    subprocess.run(["sh", script, root, disk, "16"], check=True, env={"PATH": PATH})

    data = disk.read_bytes()
    assert len(data) == 16 * 2**20
    assert data[:446] == b"B" * 446
    assert data[512:1212] == b"C" * 700
    kind, start, length = struct.unpack("<xxxxBxxxII", data[446:462])[0:3]
    assert (data[446], kind, start, length) == (0x80, 0x83, 2048, 15 * 2048)
    assert data[510:512] == b"\x55\xaa"
    (tmp_path / "partition").write_bytes(data[2**20 :])
    fsck = shutil.which("e2fsck", path=PATH)
    subprocess.run([fsck, "-fn", tmp_path / "partition"], check=True, capture_output=True)


def test_box_that_is_built_with_sudo_is_the_users(tmp_path, monkeypatch):
    """Root's own folders are not touched, and what is new belongs to who called."""
    given = {}
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, **_: given.update({str(path): uid}))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "")  # noted, so that it is as before in the end
        monkeypatch.delenv(name)
    with acting_for(Owner(1000, 1000, tmp_path)):
        (boxes.boxes_dir() / "new").mkdir(parents=True)

    cache = tmp_path / ".cache" / "mptcp-testbed" / "boxes" / "new"
    assert given[str(cache)] == 1000
    assert str(tmp_path) not in given


def test_nobody_called_sudo_without_root_or_as_root_itself():
    assert invoking_user({"SUDO_UID": "0"}, 0) is None
    assert invoking_user({}, 0) is None
    assert invoking_user({"SUDO_UID": str(os.getuid() or 1)}, 1000) is None
