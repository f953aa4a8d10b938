# SPDX-License-Identifier: Apache-2.0
"""The kinds of kernel that are built of one source and one kernel/ folder.

The lab's is a process of User-Mode Linux. That of a virtual machine is for x86 hardware as
hypervisors have it, and a Debian package.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# What only User-Mode Linux compiles.
_PROCESS_ONLY = ("arch/um/", "arch/x86/um/", "fs/hostfs/")
_TOUCHED = re.compile(r"^\+\+\+ b/(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Kind:
    """One kind of kernel.

    Attributes:
        name: on the command line.
        title: in messages.
        folder: of the cache.
        arch: of the kernel's own build.
        goal: what make is asked for.
        result: the file of the source tree that make builds for it.
        product: the file that is kept.
        config_folders: of kernel/, whose fragments are joined in this order.
        is_process: whether it runs as a process of User-Mode Linux.
        expected_files: C files in the log of a complete build of 7.3.4. The other steps (AR of
            empty folders, UPD) take no time and would make the bar jump.
        build_bytes: disk that a build takes, with the source's package.
        programs: what its build needs besides, and Debian's package of each.
        headers: likewise.
    """

    name: str
    title: str
    folder: str
    arch: str
    goal: str
    result: str
    product: str
    config_folders: tuple[str, ...]
    is_process: bool
    expected_files: int
    build_bytes: int
    programs: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def build_command(self) -> str:
        """The command that builds it."""
        return "testbed kernel build" + ("" if self.is_process else f" --for {self.name}")

    def takes(self, patch: str) -> bool:
        """Say whether a patch, given as its text, changes anything that this kind compiles."""
        return self.is_process or not is_for_processes(patch)


def is_for_processes(patch: str) -> bool:
    """Say whether a patch changes nothing but User-Mode Linux."""
    paths = _TOUCHED.findall(patch)
    return bool(paths) and all(path.startswith(_PROCESS_ONLY) for path in paths)


# Measured for 7.3.4: 1.4 GB of source, objects and kernel at the peak, and a package of 0.2 GB.
LAB = Kind(
    name="lab",
    title="lab kernel",
    folder="kernels",
    arch="um",
    goal="linux",
    result="linux",
    product="linux",
    config_folders=("config",),
    is_process=True,
    expected_files=975,
    build_bytes=1_800_000_000,
)

# Its disk is the lab's and room to spare; the peak was not measured. zstd packs the image. libelf
# is for objtool, without which there are no static branches on x86.
VM = Kind(
    name="vm",
    title="kernel for virtual machines",
    folder="vm-kernels",
    arch="x86_64",
    goal="bzImage",
    result="arch/x86/boot/bzImage",
    product="linux-image.deb",
    config_folders=("config", "config/vm"),
    is_process=False,
    expected_files=1685,
    build_bytes=2_500_000_000,
    programs={"zstd": "zstd", "dpkg-deb": "dpkg"},
    headers={"gelf.h": "libelf-dev"},
)

KINDS = {kind.name: kind for kind in (LAB, VM)}
