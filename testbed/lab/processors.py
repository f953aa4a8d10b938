# SPDX-License-Identifier: Apache-2.0
"""Lends a processor of this machine to one lab at a time, among all of the user's processes."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.lab.cache import cache_dir


@contextmanager
def own_processor() -> Iterator[int | None]:
    """Give a processor that no other lab keeps to; None if there is none left.

    A lock says who keeps to it: the kernel takes it back from a process that was killed.
    """
    folder = cache_dir() / "processors"
    held = ((cpu, _lock(folder / str(cpu))) for cpu in sorted(os.sched_getaffinity(0)))
    cpu, file = next(((cpu, file) for cpu, file in held if file is not None), (None, None))
    try:
        yield cpu
    finally:
        if file is not None:
            os.close(file)


def _lock(path: Path) -> int | None:
    """Return the descriptor of a file that is locked now, None if somebody else holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # no place for locks: no processor is lent
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
