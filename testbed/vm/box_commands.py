# SPDX-License-Identifier: Apache-2.0
"""The commands that make a box, as argument lists, and what their logs say of their progress."""

import json
import re
from pathlib import Path

from testbed.render import render
from testbed.vm.archive import KERNEL_SUITES, Archive
from testbed.vm.box_kernel import BoxKernel
from testbed.vm.places import VAGRANT_FOLDER

NICE = ["nice", "-n", "10"]

# Only the box needs these: it boots by itself.
BOOT_PACKAGES = ("grub-pc-bin", "grub-common")

BUILD_STAGES = {
    "packages": "fetch packages",
    "disk": "make the disk",
    "image": "compress the disk",
    "libvirt box": "pack the box for libvirt",
    "VirtualBox box": "pack the box for VirtualBox",
}

_BOOTSTRAP_STAGES = (
    ("running apt-get update", "fetch lists of packages"),
    ("downloading packages", "fetch packages"),
    ("extracting archives", "unpack the essential packages"),
    ("installing essential packages", "install the essential packages"),
    ("installing remaining packages", "install packages"),
    ("running --customize-hook", "configure the machine"),
    ("cleaning package lists", "clean up"),
)

BOX_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.guest = :debian
end
"""


def wanted_packages(text: str) -> list[str]:
    """Return the names in a list of packages, which may have comments."""
    return [name for line in text.splitlines() if (name := line.partition("#")[0].strip())]


def bootstrap_argv(root: Path, archive: Archive, kernel: BoxKernel, keys: Path) -> list[str]:
    """Return the command that installs Debian with all packages into a folder."""
    packages = wanted_packages((VAGRANT_FOLDER / "packages.txt").read_text())
    packages += BOOT_PACKAGES
    if kernel.package is None:
        packages.append(f"linux-image-amd64/{KERNEL_SUITES[kernel.name]}")
    customize = f'sh "{VAGRANT_FOLDER}/box-customize.sh" "$1" "{VAGRANT_FOLDER}" "{keys}"'
    return [
        *NICE,
        "mmdebstrap",
        "--variant=apt",
        "--format=directory",
        "--architectures=amd64",
        *([f"--keyring={archive.keyring}"] if archive.keyring.exists() else []),
        f"--include={','.join(packages)}",
        '--aptopt=Apt::Install-Recommends "false"',
        '--aptopt=Acquire::Retries "3"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f'--setup-hook=sh "{VAGRANT_FOLDER}/box-setup.sh" "$1"',
        *kernel.hooks(),
        f"--customize-hook={customize}",
        archive.suite,
        str(root),
        *archive.source_lines(kernel.name),
    ]


def disk_argv(root: Path, raw: Path, size_mib: int) -> list[str]:
    """Return the command that makes a disk with a boot loader of a folder."""
    return [*NICE, "sh", str(VAGRANT_FOLDER / "box-disk.sh"), str(root), str(raw), str(size_mib)]


def image_argv(raw: Path, image: Path) -> list[str]:
    """Return the command that compresses a disk, readable without unpacking it."""
    kind = ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    return [*NICE, "qemu-img", "convert", "-f", "raw", *kind, str(raw), str(image)]


def write_box_files(scratch: Path, size_mib: int) -> None:
    """Write what Vagrant wants to find in a box beside the disk."""
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-size_mib // 1024)}
    (scratch / "metadata.json").write_text(json.dumps(metadata) + "\n")
    (scratch / "Vagrantfile").write_text(BOX_VAGRANTFILE)
    folder = scratch / "virtualbox"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({"provider": "virtualbox"}) + "\n")
    (folder / "Vagrantfile").write_text(BOX_VAGRANTFILE)
    (folder / "box.ovf").write_text(render("box.ovf.j2", size_bytes=size_mib * 2**20))


def libvirt_box_argv(scratch: Path, fresh: Path) -> list[str]:
    """Return the command that packs disk and description; the disk is compressed already."""
    files = ["-C", str(scratch), "metadata.json", "Vagrantfile", "-C", str(fresh), "box.img"]
    return [*NICE, "tar", "-cf", str(fresh / "libvirt.box"), *files]


def stage_of_log(text: str) -> str | None:
    """Return how far mmdebstrap is, from its log, or None if it is not its log."""
    last = None
    for line in re.findall(r"^I: (.*)$", text, re.MULTILINE):
        last = next((stage for said, stage in _BOOTSTRAP_STAGES if line.startswith(said)), last)
    return last


def virtualbox_box_argv(scratch: Path, raw: Path, fresh: Path) -> list[list[str]]:
    """Return the commands that pack the disk as VirtualBox takes it."""
    folder = scratch / "virtualbox"
    disk = str(folder / "box-disk001.vmdk")
    kind = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    return [
        [*NICE, "qemu-img", "convert", "-f", "raw", *kind, str(raw), disk],
        [*NICE, "tar", "-C", str(folder), "-cf", str(fresh / "virtualbox.box"), "."],
    ]
