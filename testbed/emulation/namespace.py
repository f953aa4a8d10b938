# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, held by file descriptors: they end with this process."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.errors import BackendError

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        raise BackendError(f"{name} failed: {os.strerror(ctypes.get_errno()).lower()}")


class Namespace:
    """A new network namespace."""

    def __init__(self) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _call("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)

    def enter(self) -> None:
        """Move the calling thread into the namespace for good, as a child process does."""
        _call("setns", self.fd, CLONE_NEWNET)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into the namespace and back; sockets stay where they are made."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.enter()
        try:
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
            os.close(home)


def write_sysctl(name: str, value: Any) -> None:
    """Set a sysctl, such as `net.ipv4.ip_forward`, of the calling thread's namespace."""
    path = Path("/proc/sys", *name.split("."))
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        raise BackendError(
            f"the kernel refused {name} = {value}: {(error.strerror or '').lower()}"
        ) from error


def read_sysctl(name: str) -> str:
    """Return a sysctl of the calling thread's namespace."""
    return Path("/proc/sys", *name.split(".")).read_text().strip()
