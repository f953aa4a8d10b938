# SPDX-License-Identifier: Apache-2.0
"""Where the testbed keeps what it can make again: kernel sources, kernels and build logs."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import PrerequisiteError
from testbed.lab.watch import Report

# How long compilers that were killed may take to be gone.
REMOVAL_TIMEOUT_S = 10.0

# Less room than this is none: a program that failed for want of it has freed its last file.
FULL_BYTES = 4_000_000


def cache_dir() -> Path:
    """Return the user's cache folder for the testbed; it may not exist yet.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "mptcp-testbed"


def disk_full(folder: Path) -> PrerequisiteError:
    """Return the error for a command that failed because a disk was full."""
    return PrerequisiteError(
        f"no space is left on the disk of {folder}; free some, or set XDG_CACHE_HOME to a folder "
        "on another disk"
    )


def is_full(folder: Path) -> bool:
    """Say whether a folder's disk has no room left, so that even an error message is lost."""
    return shutil.disk_usage(folder).free < FULL_BYTES


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a folder on the cache's disk, so that what is finished can be renamed into place."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder, also one in which dying processes still make files."""
    deadline_s = time.monotonic() + REMOVAL_TIMEOUT_S
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def one_build_at_a_time(folder: Path, what: str, report: Report) -> Iterator[None]:
    """Let one process at a time build into a folder; others wait and say so.

    Args:
        folder: made if it is not there.
        what: is built, with its article.
        report: called with a phase and None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"wait for another build of {what}", None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
