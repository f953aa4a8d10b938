# SPDX-License-Identifier: Apache-2.0
"""Whether this machine lets the lab kernel catch the system calls of its processes.

Containers forbid either way or both with a policy that no version number tells; so both are
tried in a child process. Numbers and structures are those of the x86_64 kernel's headers.
"""

import ctypes
import os
from collections.abc import Callable

PTRACE_TRACEME = 0

PR_SET_NO_NEW_PRIVS = 38
SYS_SECCOMP = 317
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_RET_ALLOW = 0x7FFF0000
BPF_RET_K = 0x06


class _Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


def can_trace() -> bool:
    """Say whether a child may be traced with ptrace(2)."""
    return _succeeds_in_child(lambda libc: libc.ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)


def can_filter_system_calls() -> bool:
    """Say whether a child may install a seccomp(2) filter."""
    return _succeeds_in_child(_install_filter)


def _install_filter(libc: ctypes.CDLL) -> bool:
    allow_all = _Instruction(BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW)
    program = _Program(1, ctypes.pointer(allow_all))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    result: int = libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program))
    return result == 0


def _succeeds_in_child(attempt: Callable[[ctypes.CDLL], bool]) -> bool:
    libc = ctypes.CDLL(None)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if attempt(libc) else 1)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0
