# SPDX-License-Identifier: Apache-2.0
"""What a kernel build needs of this machine, and the Debian packages that have it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping

from testbed.errors import PrerequisiteError
from testbed.lab.kinds import LAB, Kind

# Program -> Debian package.
PROGRAMS: Mapping[str, str] = {
    "gcc": "build-essential",
    "ld": "build-essential",
    "make": "build-essential",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "patch": "patch",
    "tar": "tar",
    "xz": "xz-utils",
}

# Header -> Debian package. The kernel's own list names libelf and libssl too: they are for
# objtool, BTF and signed modules, none of which the lab kernel has. A kind may need more.
HEADERS: Mapping[str, str] = {"stdio.h": "build-essential"}


def missing_from_toolchain(
    which: Callable[[str], str | None] = shutil.which,
    has_header: Callable[[str], bool] | None = None,
    kind: Kind = LAB,
) -> dict[str, str]:
    """Return what a kind of kernel lacks, program or header, and the package of each."""
    programs, headers = {**PROGRAMS, **kind.programs}, {**HEADERS, **kind.headers}
    missing = {name: package for name, package in programs.items() if not which(name)}
    if "gcc" in missing:
        return missing
    found = has_header or _has_header
    return missing | {name: package for name, package in headers.items() if not found(name)}


def install_command(packages: Iterable[str]) -> str:
    """Return the command that installs Debian packages on this machine."""
    names = " ".join(sorted(set(packages)))
    if not shutil.which("apt-get"):
        return f"your package manager, for what Debian calls {names}"
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {names}"


def require_toolchain(kind: Kind = LAB) -> None:
    """Check that a kind of kernel can be built here.

    Raises:
        PrerequisiteError: it cannot; the message lists everything that is missing.
    """
    if missing := missing_from_toolchain(kind=kind):
        command = install_command(missing.values())
        raise PrerequisiteError(
            f"building the {kind.title} needs {', '.join(missing)}; run '{command}'"
        )


def _has_header(name: str) -> bool:
    argv = ["gcc", "-E", "-x", "c", "-o", "/dev/null", "-"]
    source = f"#include <{name}>\n"
    return not subprocess.run(argv, input=source, text=True, capture_output=True).returncode
