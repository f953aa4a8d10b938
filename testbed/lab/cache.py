# SPDX-License-Identifier: Apache-2.0
"""Where the testbed keeps what it can make again: kernel sources, kernels and build logs."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# How long compilers that were killed may take to be gone.
REMOVAL_TIMEOUT_S = 10.0


def cache_dir() -> Path:
    """Return the user's cache folder for the testbed; it may not exist yet.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "mptcp-testbed"


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
