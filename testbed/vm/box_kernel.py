# SPDX-License-Identifier: Apache-2.0
"""Which Linux a box gets: one of Debian's, or our own, which `testbed kernel build` made."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from testbed.lab.additions import local_version
from testbed.lab.kernel import find_additions, find_kernel
from testbed.lab.kinds import VM
from testbed.vm.archive import OURS

# Where our own kernel's package lies in the box while it is installed.
_PACKAGE_THERE = "/linux-image.deb"


@dataclass(frozen=True)
class BoxKernel:
    """The Linux of a box.

    Attributes:
        name: one of `archive.KERNELS`.
        package: of our own, a file; None: Debian's.
    """

    name: str
    package: Path | None = None

    def hooks(self) -> list[str]:
        """Return what installs our own, before anything in the box is made to fit its kernel."""
        if self.package is None:
            return []
        return [
            f"--customize-hook=upload {shlex.quote(str(self.package))} {_PACKAGE_THERE}",
            f'--customize-hook=chroot "$1" dpkg --install {_PACKAGE_THERE}',
            f'--customize-hook=rm "$1{_PACKAGE_THERE}"',
        ]


def box_kernel(name: str) -> BoxKernel:
    """Return the kernel of a name.

    Raises:
        PrerequisiteError: our own has not been built.
    """
    return BoxKernel(name, find_kernel(VM).path if name == OURS else None)


def own_local_version() -> str:
    """Return what a kernel's release ends with that was built with this checkout's kernel/."""
    return local_version(find_additions(VM), VM)
