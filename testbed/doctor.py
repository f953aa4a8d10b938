# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks for the testbed, and what mends it.

Each judge_... function is pure: it turns what a probe found into a Check. `examine` runs the
probes, which really try what the lab will do instead of comparing version numbers.
"""

import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from testbed.errors import CommandError, PrerequisiteError, TestbedError
from testbed.lab.boot import (
    DEFAULT_MEMORY_BYTES,
    GUEST_PATH,
    MIN_MEMORY_BYTES,
    BootOptions,
    GuestCommand,
    run_in_lab,
)
from testbed.lab.cache import cache_dir
from testbed.lab.host import available_memory_bytes, memory_folder
from testbed.lab.kernel import find_kernel
from testbed.lab.kinds import LAB as LAB_KERNEL
from testbed.lab.system_calls import can_filter_system_calls, can_trace
from testbed.lab.toolchain import install_command, missing_from_toolchain
from testbed.process import run

# The one backend that exists so far; its checks decide about the exit code.
LAB = "lab"

FAST_MEMORY_FOLDER = Path("/dev/shm")


class Status(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One feature of this machine.

    Attributes:
        name: the feature.
        backend: who needs it.
        status: missing: the backend cannot run; warning: it can, with a drawback.
        detail: what was found.
        remedy: the command or the change that mends it; empty: nothing to mend.
    """

    name: str
    backend: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Tool:
    """A program of this machine that experiments run inside the lab.

    Attributes:
        name: the program.
        package: the Debian package that has it.
        version_option: makes it print its version.
    """

    name: str
    package: str
    version_option: str


TOOLS = (
    Tool("tcpdump", "tcpdump", "--version"),
    Tool("curl", "curl", "--version"),
    Tool("squid", "squid", "-v"),
    Tool("mptcpize", "mptcpize", "--version"),
    Tool("ip", "iproute2", "-V"),
    Tool("ss", "iproute2", "-V"),
)


def examine() -> list[Check]:
    """Run all probes on this machine."""
    kernel_id, kernel_remedy = _probe_kernel()
    has_kernel = not kernel_remedy
    return [
        judge_architecture(platform.machine()),
        Check("python", LAB, Status.OK, platform.python_version()),
        _judge_kernel(kernel_id, kernel_remedy),
        judge_toolchain(missing_from_toolchain(), has_kernel=has_kernel),
        _probe_memory_folder(),
        judge_isolation(has_seccomp=can_filter_system_calls(), has_ptrace=can_trace()),
        judge_memory(available_memory_bytes()),
        Check("cores", LAB, Status.OK, str(len(os.sched_getaffinity(0)))),
        _probe_cache(has_kernel=has_kernel),
        *(_probe_tool(tool) for tool in TOOLS),
        *([_probe_boot()] if has_kernel else []),
    ]


def is_ready(checks: Iterable[Check], backend: str = LAB) -> bool:
    """Say whether a backend can run on this machine."""
    return all(c.status != Status.MISSING for c in checks if c.backend == backend)


def judge_architecture(machine: str) -> Check:
    """User-Mode Linux exists for x86 only; the lab kernel is built for 64 bits."""
    if machine == "x86_64":
        return Check("architecture", LAB, Status.OK, machine)
    return Check("architecture", LAB, Status.MISSING, machine, "use an x86_64 machine")


def judge_toolchain(missing: Mapping[str, str], *, has_kernel: bool) -> Check:
    """Without a compiler no kernel can be built; with a kernel that can wait."""
    if not missing:
        return Check("build tools", LAB, Status.OK, "complete")
    status = Status.WARNING if has_kernel else Status.MISSING
    detail = f"no {', '.join(missing)}"
    return Check("build tools", LAB, status, detail, install_command(missing.values()))


def judge_memory_folder(folder: Path, free_bytes: int) -> Check:
    """The guest's memory is a file; on a disk instead of in memory it is slow."""
    detail = f"{folder}, {_gib(free_bytes)} free, executable"
    if folder != FAST_MEMORY_FOLDER:
        remedy = f"mount -o remount,exec {FAST_MEMORY_FOLDER}"
        return Check("memory file", LAB, Status.WARNING, f"{detail}, slow", remedy)
    if free_bytes < DEFAULT_MEMORY_BYTES:
        remedy = f"mount -o remount,size=2G {folder}"
        return Check("memory file", LAB, Status.WARNING, detail, remedy)
    return Check("memory file", LAB, Status.OK, detail)


def judge_isolation(*, has_seccomp: bool, has_ptrace: bool) -> Check:
    """The lab kernel catches its processes' system calls with seccomp or, slowly, with ptrace."""
    if has_seccomp:
        return Check("system calls", LAB, Status.OK, "seccomp")
    remedy = "allow seccomp filters (in a container: --security-opt seccomp=unconfined)"
    if has_ptrace:
        return Check("system calls", LAB, Status.WARNING, "ptrace, 3 times slower", remedy)
    return Check("system calls", LAB, Status.MISSING, "neither seccomp nor ptrace", remedy)


def judge_memory(available_bytes: int) -> Check:
    """A lab gets 1 GiB unless --memory says otherwise."""
    detail = f"{_gib(available_bytes)} available"
    if available_bytes < MIN_MEMORY_BYTES:
        return Check("memory", LAB, Status.MISSING, detail, "end some programs")
    if available_bytes < DEFAULT_MEMORY_BYTES:
        return Check("memory", LAB, Status.WARNING, detail, "give labs less with --memory")
    return Check("memory", LAB, Status.OK, detail)


def judge_cache(folder: Path, free_bytes: int, *, has_kernel: bool) -> Check:
    """A kernel build takes room that is free again after it."""
    detail = f"{folder}, {_gib(free_bytes)} free"
    if free_bytes >= LAB_KERNEL.build_bytes:
        return Check("cache", LAB, Status.OK, detail)
    status = Status.WARNING if has_kernel else Status.MISSING
    wanted = _gib(LAB_KERNEL.build_bytes)
    remedy = f"free {wanted}, or set XDG_CACHE_HOME to a folder on another disk"
    return Check("cache", LAB, status, detail, remedy)


def parse_version(output: str) -> str:
    """Return the first thing in a tool's output that looks like a version."""
    match = re.search(r"\d+\.\d+(?:\.\d+)*", output)
    return match[0] if match else "version unknown"


def _judge_kernel(path: str, remedy: str) -> Check:
    if remedy:
        return Check("lab kernel", LAB, Status.MISSING, "not built for this checkout", remedy)
    return Check("lab kernel", LAB, Status.OK, path)


def _probe_boot() -> Check:
    """Boot a lab and run a command in it, which shows what no single check can."""
    started = time.monotonic()
    try:
        kernel = find_kernel().path
        run_in_lab(GuestCommand(["true"]), kernel=kernel, options=BootOptions())
    except TestbedError as error:
        return Check("boot", LAB, Status.MISSING, str(error), "testbed kernel build --force")
    return Check("boot", LAB, Status.OK, f"{time.monotonic() - started:.2f} s")


def _probe_kernel() -> tuple[str, str]:
    try:
        return find_kernel().id, ""
    except PrerequisiteError as error:
        return "", "testbed kernel build" if "kernel build" in str(error) else str(error)


def _probe_memory_folder() -> Check:
    try:
        folder = memory_folder()
    except PrerequisiteError as error:
        remedy = f"mount -o remount,exec {FAST_MEMORY_FOLDER}"
        return Check("memory file", LAB, Status.MISSING, str(error).partition(";")[0], remedy)
    return judge_memory_folder(folder, shutil.disk_usage(folder).free)


def _probe_cache(*, has_kernel: bool) -> Check:
    folder = cache_dir()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(existing, os.W_OK):
        remedy = "set XDG_CACHE_HOME to a folder that you may write to"
        return Check("cache", LAB, Status.MISSING, f"{existing} is not writable", remedy)
    return judge_cache(folder, shutil.disk_usage(existing).free, has_kernel=has_kernel)


def _probe_tool(tool: Tool) -> Check:
    path = shutil.which(tool.name, path=GUEST_PATH)
    if path is None:
        remedy = install_command([tool.package])
        return Check(tool.name, LAB, Status.MISSING, "not installed", remedy)
    try:
        version = parse_version(run([path, tool.version_option], timeout_s=10))
    except CommandError as error:
        remedy = f"{install_command([tool.package])} --reinstall"
        return Check(tool.name, LAB, Status.MISSING, str(error), remedy)
    return Check(tool.name, LAB, Status.OK, f"{version} ({path})")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"
