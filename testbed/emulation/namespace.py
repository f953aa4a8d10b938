# SPDX-License-Identifier: Apache-2.0
"""Network namespaces, held by file descriptors: they end with this process.

A system call costs about 50 us of host time in the lab, so there are as few as possible.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testbed.errors import BackendError

CLONE_NEWNET = 0x40000000
OWN_NAMESPACE = "/proc/thread-self/ns/net"
SYSCTL_BYTES = 4096

# With 3, a new namespace begins with the IPv4 and IPv6 settings of its maker's namespace.
INHERIT = "net.core.devconf_inherit_init_net"
FROM_MAKER = 3

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        raise BackendError(f"{name} failed: {os.strerror(ctypes.get_errno()).lower()}")


def _open_own() -> int:
    return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def returning() -> Iterator[None]:
    """Bring the calling thread back, at the end, to the namespace in which it is now."""
    home = _open_own()
    try:
        yield
    finally:
        _call("setns", home, CLONE_NEWNET)
        os.close(home)


class Namespace:
    """A network namespace.

    Args:
        fd: an open descriptor of it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def enter(self) -> None:
        """Move the calling thread into the namespace for good, as a child process does."""
        _call("setns", self.fd, CLONE_NEWNET)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into the namespace and back; sockets stay where they are made."""
        with returning():
            self.enter()
            yield

    def close(self) -> None:
        """Let go of the namespace; it ends with the last socket in it."""
        os.close(self.fd)


def enter_new_namespace() -> Namespace:
    """Make a namespace and move the calling thread into it."""
    _call("unshare", CLONE_NEWNET)
    return Namespace(_open_own())


@contextmanager
def inheriting() -> Iterator[None]:
    """Let new namespaces inherit from the one in which they are made, where that can be chosen.

    Only the machine's first namespace can; elsewhere they begin with what they always do.
    """
    try:
        before = read_sysctl(INHERIT)
        _write(INHERIT, FROM_MAKER)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        write_sysctl(INHERIT, before)


def _path(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"


def _write(name: str, value: Any) -> None:
    fd = os.open(_path(name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, f"{value}\n".encode())
    finally:
        os.close(fd)


def write_sysctl(name: str, value: Any) -> None:
    """Set a sysctl, such as `net.ipv4.ip_forward`, of the calling thread's namespace."""
    try:
        _write(name, value)
    except OSError as error:
        raise BackendError(
            f"the kernel refused {name} = {value}: {(error.strerror or '').lower()}"
        ) from error


def read_sysctl(name: str) -> str:
    """Return a sysctl of the calling thread's namespace."""
    fd = os.open(_path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, SYSCTL_BYTES).decode().strip()
    finally:
        os.close(fd)


def knows_sysctl(name: str) -> bool:
    """Return whether the kernel has a sysctl."""
    return os.access(_path(name), os.F_OK)


def has_sysctl(name: str, value: Any) -> bool:
    """Return whether a sysctl of the calling thread's namespace has a value already."""
    try:
        return read_sysctl(name).split() == str(value).split()
    except OSError:
        return False
