# SPDX-License-Identifier: Apache-2.0
"""What a running command uses of the cache stays there; of the rest only the newest is kept.

A command holds what it uses by a shared lock on the folder or file itself, which the kernel takes
back from a process that was killed. When it was used last is in its time of access: that of the
last change is seen in the guest, whose clock it could shift.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from testbed.lab.cache import remove_folder

# Of each kind; a checkout and some work on it.
KEPT = 4

# Whoever does not hold what it uses, such as an older version of ours, has so long.
UNTOUCHED_S = 3600.0

_held: dict[Path, int] = {}
_guard = threading.Lock()


def hold(path: Path) -> bool:
    """Keep a folder or file of the cache as long as this process lives.

    Returns:
        Whether it is there; if not, it has to be made, or made again.
    """
    with _guard:
        if (descriptor := _held.get(path)) is not None and _is(path, descriptor):
            return True
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it is there, and nobody who may not read it can hold it
        with suppress(OSError):  # some network file systems have no such locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not _is(path, descriptor):  # it was removed just before the lock
            os.close(descriptor)
            return False
        with suppress(OSError):  # somebody else's
            os.utime(path, ns=(time.time_ns(), os.fstat(descriptor).st_mtime_ns))
        _held[path] = descriptor
        return True


def release_all() -> None:
    """Hold nothing any more."""
    with _guard:
        while _held:
            os.close(_held.popitem()[1])


def remove_old(paths: Iterable[Path]) -> list[Path]:
    """Remove what is neither among the newest nor used by a running command.

    Args:
        paths: of one kind; a hidden one is what somebody was making, and never counts as newest.

    Returns:
        What was removed.
    """
    by_use = sorted(((_used_s(path), path) for path in paths), reverse=True)
    newest = [path for _, path in by_use if not path.name.startswith(".")][:KEPT]
    now_s = time.time()
    # The host's clock may have been wrong in either direction.
    old = [path for used_s, path in by_use if abs(now_s - used_s) > UNTOUCHED_S]
    return [path for path in old if path not in newest and remove_unheld(path)]


def remove_unheld(path: Path) -> bool:
    """Remove a folder or file of the cache unless a command holds it; say whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Gone in one step, so that nobody finds a part of it.
        aside = path.with_name(f".old-{secrets.token_hex(8)}")
        path.rename(aside)
        if aside.is_dir():
            remove_folder(aside)
        else:
            aside.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _used_s(path: Path) -> float:
    try:
        return path.stat().st_atime
    except OSError:
        return 0.0
