# SPDX-License-Identifier: Apache-2.0
"""What the lab takes from this machine: memory, a place for it, and folders to keep visible."""

import mmap
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import PrerequisiteError

# Empty in the guest, so a host folder below them must be shown to it by name.
COVERED = (Path("/tmp"), Path("/var"), Path("/run"), Path("/dev"))


def memory_folder() -> Path:
    """Return a folder for the guest's memory file, in memory itself where that is possible.

    Raises:
        PrerequisiteError: no folder allows executable mappings.
    """
    candidates = [Path("/dev/shm"), Path(tempfile.gettempdir()), Path.home()]
    for folder in candidates:
        if allows_execution(folder):
            return folder
    names = ", ".join(map(str, candidates))
    raise PrerequisiteError(
        f"none of {names} is writable and mounted without noexec, so the lab has no place for "
        "its memory; remount one with 'mount -o remount,exec /dev/shm'"
    )


def allows_execution(folder: Path) -> bool:
    """Say whether a file in the folder can be mapped as executable memory."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def check_memory(wanted_bytes: int) -> None:
    """Refuse a lab that this machine could not hold if the guest used all of its memory.

    Raises:
        PrerequisiteError: it is too large.
    """
    available = available_memory_bytes()
    disk = os.statvfs(memory_folder())
    free = disk.f_bavail * disk.f_frsize
    if wanted_bytes > min(available, free):
        raise PrerequisiteError(
            f"a lab with {wanted_bytes / 2**30:.1f} GiB of memory does not fit: "
            f"{available / 2**30:.1f} GiB of memory are available and {free / 2**30:.1f} GiB "
            f"free in {memory_folder()}; give it less with --memory"
        )


def available_memory_bytes() -> int:
    """Return what /proc/meminfo calls MemAvailable."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def expose(folders: Iterable[Path]) -> list[Path]:
    """Return those folders that the guest's empty ones would hide."""
    hidden = {
        folder.resolve()
        for folder in folders
        if any(folder.resolve().is_relative_to(place) for place in COVERED)
    }
    return sorted(folder for folder in hidden if folder not in COVERED)
