# SPDX-License-Identifier: Apache-2.0
"""A Debian package of a kernel that is one file: image, configuration, and lists for modprobe.

The kernel's own `make bindeb-pkg` takes debhelper and more; this takes dpkg-deb. Where it is
installed, the distribution's hooks make the initramfs and tell the boot loader.
"""

from collections.abc import Mapping
from pathlib import Path

from testbed.errors import BackendError

PACKAGE_ROOT = "package-root"
# With the same files, the same bytes.
EPOCH = {"SOURCE_DATE_EPOCH": "0"}

# From the source tree, what becomes which file; RELEASE stands for the kernel's release.
_FILES: Mapping[str, str] = {
    ".config": "boot/config-RELEASE",
    "System.map": "boot/System.map-RELEASE",
    "modules.builtin": "usr/lib/modules/RELEASE/modules.builtin",
    "modules.builtin.modinfo": "usr/lib/modules/RELEASE/modules.builtin.modinfo",
}

_CONTROL = """\
Package: linux-image-{release}
Version: {version}-1
Architecture: amd64
Section: kernel
Priority: optional
Maintainer: MPTCP testbed <root@localhost>
Depends: kmod, initramfs-tools | linux-initramfs-tool
Installed-Size: {size_kib}
Description: Linux {version} of the MPTCP testbed, for virtual machines
 With coupled congestion control for MPTCP (LIA, OLIA, BALIA) and lab_link, the
 queueing discipline of the testbed's links. Everything is built in.
"""

# Debian's hooks want to know that an installation calls them, and that an initramfs is wanted.
_HOOKS = """\
#!/bin/sh
set -e
{command}
export DEB_MAINT_PARAMS="$*" INITRD=Yes
[ ! -d /etc/kernel/{folder} ] ||
	run-parts --report --exit-on-error --arg={release} --arg=/boot/vmlinuz-{release} \\
		/etc/kernel/{folder}
"""


def lay_out(source: Path, image: Path, release: str, version: str, root: Path) -> None:
    """Put the files of a package into a folder.

    Args:
        source: a tree in which a kernel has been built.
        image: the kernel.
        release: as `uname -r` will say it.
        version: of Linux.
        root: the folder to make.

    Raises:
        BackendError: the build did not make one of them.
    """
    wanted = {image: "boot/vmlinuz-RELEASE"}
    wanted |= {source / name: place for name, place in _FILES.items()}
    for path, place in wanted.items():
        if not path.is_file():
            raise BackendError(f"the kernel's build made no {path.name}")
        _put(path.read_bytes(), root / place.replace("RELEASE", release))
    # Empty: there is no module that could be loaded. depmod wants to be told.
    _put(b"", root / f"usr/lib/modules/{release}/modules.order")
    size_kib = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
    control = root / "DEBIAN"
    values = {"release": release, "version": version, "size_kib": size_kib}
    _put(_CONTROL.format(**values).encode(), control / "control")
    for name, command in (("postinst", f"depmod {release}"), ("postrm", ":")):
        script = _HOOKS.format(command=command, folder=f"{name}.d", release=release)
        _put(script.encode(), control / name, mode=0o755)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def package_argv(root: Path, package: Path) -> list[str]:
    """Return the command that packs a folder."""
    return ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(package)]


def _put(content: bytes, path: Path, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
