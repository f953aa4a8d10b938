# SPDX-License-Identifier: Apache-2.0
"""The boxes of this user: Debian disks with an MPTCP kernel, built here from Debian's packages.

The kernel is one of Debian's, or our own.

A box lies in the cache as boxes/<release of Linux>-<12 hex digits of its recipe>/ with

    box.img           the disk, qcow2; it has a boot loader, so every provider can boot it
    vmlinuz           its kernel, with which is tried whether KVM works
    libvirt.box       the disk as Vagrant takes it
    user, user.pub    the key that may log in
    host.pub          the machine's own key: who has the box knows it, so nothing is trusted blindly
    build.log  info.json

info.json is written last and says how large each file is.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import BackendError, PrerequisiteError
from testbed.lab.cache import (
    disk_full,
    is_full,
    one_build_at_a_time,
    remove_folder,
    scratch_folder,
)
from testbed.lab.watch import Report, watch
from testbed.process import run
from testbed.vm.archive import DEFAULT_KERNEL, OURS, Archive
from testbed.vm.box_commands import (
    BUILD_STAGES,
    bootstrap_argv,
    disk_argv,
    image_argv,
    libvirt_box_argv,
    stage_of_log,
    virtualbox_box_argv,
    write_box_files,
)
from testbed.vm.box_kernel import BoxKernel, own_local_version
from testbed.vm.places import VAGRANT_FOLDER, boxes_dir

# Measured: 1.6 GB of unpacked packages, the same again as a disk, and 0.9 GB that stay.
BUILD_BYTES = 5_000_000_000
DISK_MIB = 8192
RECIPE = ("box-setup.sh", "box-customize.sh", "box-disk.sh", "provision.sh", "packages.txt")

# PROGRAM: Debian's package of it.
BUILD_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
}


@dataclass(frozen=True)
class Box:
    """A box that is complete.

    Attributes:
        folder: where it lies.
        id: its name.
        kernel: the release of its Linux.
        built: when, ISO 8601 in UTC.
        size_bytes: of all its files.
        kernel_from: which of `archive.KERNELS` that is.
    """

    folder: Path
    id: str
    kernel: str
    built: str
    size_bytes: int
    kernel_from: str = DEFAULT_KERNEL

    @property
    def is_current(self) -> bool:
        """Whether this checkout would build the same: by its recipe and, for its own, kernel/."""
        if not self.id.endswith(recipe_hash()[:12]):
            return False
        return self.kernel_from != OURS or self.kernel.endswith(own_local_version())

    @property
    def host_key(self) -> str:
        """The machine's own public key: type and key."""
        return " ".join((self.folder / "host.pub").read_text().split()[:2])


def find_box(kernel: str | None = None) -> Box:
    """Return the newest box that was built with this checkout's recipe.

    Args:
        kernel: one of `archive.KERNELS`; None: whichever.

    Raises:
        PrerequisiteError: there is none, or it is incomplete.
    """
    boxes = [box for box in list_boxes() if kernel in (None, box.kernel_from)]
    found = [box for box in boxes if box.is_current]
    if not found:
        option = f" --kernel {kernel}" if kernel else ""
        raise PrerequisiteError(
            f"no box has been built for this checkout; run 'testbed vm build-box{option}'"
        )
    return check_box(found[-1])


def list_boxes() -> list[Box]:
    """Return the boxes in the cache, oldest first."""
    records = [_read_record(path) for path in boxes_dir().glob("[!.]*/info.json")]
    return sorted(records, key=lambda box: box.built)


def check_box(box: Box) -> Box:
    """Return a box whose files are as long as they were when it was built.

    Raises:
        PrerequisiteError: one is missing or has another length.
    """
    sizes: dict[str, int] = json.loads((box.folder / "info.json").read_text())["files"]
    for name, size in sizes.items():
        path = box.folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise PrerequisiteError(
                f"the box {box.id} is incomplete ({name} is not as it was built); build it again "
                "with 'testbed vm build-box --force'"
            )
    return box


def recipe_hash(folder: Path = VAGRANT_FOLDER) -> str:
    """Return the hash of everything of this checkout that gets into a box.

    Raises:
        PrerequisiteError: the testbed was not started from a checkout.
    """
    paths = [*(folder / name for name in RECIPE), *sorted((folder / "bpf").glob("*.bpf.c"))]
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise PrerequisiteError(
                f"there is no {path}; boxes are built from a checkout of the testbed's repository"
            )
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def check_buildable() -> None:
    """Check that a box can be built here, before anything is fetched.

    Raises:
        PrerequisiteError: root, a tool or disk space is missing.
    """
    recipe_hash()
    missing = {tool: package for tool, package in BUILD_TOOLS.items() if not _which(tool)}
    if missing:
        raise PrerequisiteError(
            f"building a box needs {', '.join(missing)}; run './setup vm', or "
            f"'apt-get install {' '.join(sorted(set(missing.values())))}'"
        )
    if os.geteuid():
        raise PrerequisiteError(
            "building a box installs packages into a folder, which takes root; run it with sudo"
        )
    boxes_dir().mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(boxes_dir()).free) < BUILD_BYTES:
        raise PrerequisiteError(
            f"building a box takes {BUILD_BYTES / 1e9:.0f} GB of disk and {boxes_dir()} has "
            f"{free / 1e9:.1f} GB; free some space, or set XDG_CACHE_HOME to a folder on "
            "another disk"
        )


@contextmanager
def build_lock(report: Report) -> Iterator[None]:
    """Let one process at a time build; what a killed one left is removed."""
    with one_build_at_a_time(boxes_dir(), "a box", report):
        for folder in boxes_dir().glob(".build-*"):
            remove_folder(folder)
        yield


def build_box(
    archive: Archive, kernel: BoxKernel, report: Report, *, for_virtualbox: bool = False
) -> Box:
    """Build a box and keep it in the cache. The caller holds `build_lock`.

    Args:
        archive: where packages come from.
        kernel: that it gets.
        report: told about every stage.
        for_virtualbox: make a box for VirtualBox too.

    Raises:
        PrerequisiteError: the disk is full.
        BackendError: a command failed; its log is kept.
    """
    with scratch_folder(boxes_dir(), ".build-") as scratch:
        fresh = scratch / "box"
        fresh.mkdir()
        builder = _Builder(scratch, fresh, report)
        release = builder.build(archive, kernel, for_virtualbox=for_virtualbox)
        return _keep(fresh, release, kernel.name)


class _Builder:
    """One build, in a folder that is removed afterwards."""

    def __init__(self, scratch: Path, fresh: Path, report: Report) -> None:
        self._scratch = scratch
        self._fresh = fresh
        self._report = report

    def build(self, archive: Archive, kernel: BoxKernel, *, for_virtualbox: bool) -> str:
        """Fill the folder and return the kernel's release."""
        root, raw = self._scratch / "root", self._scratch / "disk.raw"
        for name in ("user", "host"):
            _make_key(self._fresh / name)
        self._step(bootstrap_argv(root, archive, kernel, self._fresh), "packages")
        image = sorted((root / "boot").glob("vmlinuz-*"))[-1]
        shutil.copyfile(image, self._fresh / "vmlinuz")
        self._step(disk_argv(root, raw, DISK_MIB), "disk")
        (self._fresh / "host").unlink()  # it is in the disk, and nobody else needs it
        self._step(image_argv(raw, self._fresh / "box.img"), "image")
        write_box_files(self._scratch, DISK_MIB)
        self._step(libvirt_box_argv(self._scratch, self._fresh), "libvirt box")
        if for_virtualbox:
            for argv in virtualbox_box_argv(self._scratch, raw, self._fresh):
                self._step(argv, "VirtualBox box")
        return image.name.removeprefix("vmlinuz-")

    def _step(self, argv: list[str], what: str) -> None:
        log = self._scratch / f"{what.replace(' ', '-')}.log"

        def tick() -> None:
            said = log.with_name(f"{log.name}.stderr")
            stage = stage_of_log(said.read_text(errors="replace")) if said.exists() else None
            self._report(stage or BUILD_STAGES[what], None)

        env = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        outcome = watch(argv, log_path=log, env=env, tick=tick)
        with (self._fresh / "build.log").open("a") as whole:
            whole.write(outcome.output)
        if not outcome.returncode:
            return
        if "No space left" in outcome.output or is_full(boxes_dir()):
            raise disk_full(boxes_dir())
        kept = boxes_dir() / "failed.log"
        shutil.copyfile(self._fresh / "build.log", kept)
        raise BackendError(f"{argv[0]} exited {outcome.returncode} ({_reason(outcome.output)}); "
                           f"see {kept}")  # fmt: skip


def _reason(output: str) -> str:
    """Return the last line that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith(("E:", "error", "mke2fs:"))]
    return (wrong or lines or ["it said nothing"])[-1]


def _make_key(path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mptcp-testbed", "-f", str(path)]
    run(argv, timeout_s=60)


def _keep(fresh: Path, kernel: str, kernel_from: str) -> Box:
    """Describe a finished box and move it to its place in one step."""
    files = {path.name: path.stat().st_size for path in sorted(fresh.iterdir())}
    name = f"{kernel}-{recipe_hash()[:12]}"
    record: Mapping[str, object] = {
        "id": name,
        "kernel": kernel,
        "kernel_from": kernel_from,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    (fresh / "info.json").write_text(json.dumps(record, indent=2) + "\n")
    place = boxes_dir() / name
    if place.exists():
        remove_folder(place)
    fresh.rename(place)
    return _read_record(place / "info.json")


def _read_record(path: Path) -> Box:
    record = json.loads(path.read_text())
    size_bytes = sum(record["files"].values())
    kernel_from = record.get("kernel_from", DEFAULT_KERNEL)  # not written before there were ours
    return Box(
        path.parent, record["id"], record["kernel"], record["built"], size_bytes, kernel_from
    )


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
