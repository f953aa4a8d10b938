# SPDX-License-Identifier: Apache-2.0
"""A run in namespaces of its own on a machine that is not its own.

    python3 -m testbed.target.confine RUN_DIR CODE LIMIT_S

Processes, network and /tmp are the run's own. One process holds them; when it ends, however that
comes, the kernel ends all the others and nothing is left. RUN_DIR and CODE are seen at BOX.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from testbed.errors import BackendError

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1

BOX = Path("/tmp/testbed")
RUN, CODE = BOX / "run", BOX / "code"

_libc = ctypes.CDLL(None, use_errno=True)


def confine(run_dir: Path, code: Path, *, limit_s: float | None = None) -> int:
    """Carry out the run.json of a folder in fresh namespaces and return the exit status.

    The caller moves into the new mount and network namespace itself.

    Args:
        run_dir: the folder of the run.
        code: the folder with the package `testbed`.
        limit_s: after which the run is ended; None: never.

    Raises:
        BackendError: the kernel refused something.
        TimeoutError: limit_s passed.
    """
    _call("unshare", CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET)
    _mount(b"none", b"/", None, MS_REC | MS_PRIVATE)
    keeper = os.fork()
    if keeper == 0:
        _end_with_parent()
        status = 1
        try:
            status = _keep(run_dir, code)
        except BackendError as error:
            print(json.dumps({"stage": "failed", "error": str(error)}), flush=True)
        finally:
            os._exit(status)
    return _wait(keeper, limit_s)


def _wait(keeper: int, limit_s: float | None) -> int:
    descriptor = os.pidfd_open(keeper)
    try:
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while True:
            done, status = os.waitpid(keeper, os.WNOHANG)
            if done:
                return _exit_status(status)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.05)
    finally:
        os.close(descriptor)
        _kill(keeper)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _keep(run_dir: Path, code: Path) -> int:
    """Be the first process of the namespace: start the runner, reap all, end with the runner."""
    _furnish(run_dir, code)
    runner = os.fork()
    if runner == 0:
        os.setsid()
        os.chdir(RUN)
        argv = [sys.executable, "-S", "-s", "-P", "-m", "testbed.runner", str(RUN / "run.json")]
        os.execve(argv[0], [*argv, str(RUN)], environment())
    while True:
        ended, status = os.wait()
        if ended == runner:
            return _exit_status(status)


def environment() -> dict[str, str]:
    """Return the few variables that a run gets, and those of ours that are set."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    known = {
        "PATH": f"{path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(CODE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    ours = {name: value for name, value in os.environ.items() if name.startswith("TESTBED_")}
    return {**known, **ours}


def _furnish(run_dir: Path, code: Path) -> None:
    """Mount what the run sees: its own /proc and /tmp, and in the latter its two folders."""
    _mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV)
    # Opened before they are hidden, for they may lie in /tmp.
    places = {RUN: run_dir, CODE: code}
    held = {place: os.open(folder, os.O_PATH) for place, folder in places.items()}
    _mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV)
    Path("/tmp").chmod(0o1777)
    for place, descriptor in held.items():
        place.mkdir(parents=True)
        source = f"/proc/self/fd/{descriptor}".encode()
        _mount(source, str(place).encode(), None, MS_BIND)
        os.close(descriptor)
    _call_mount(b"sysfs", b"/sys", b"sysfs", MS_NOSUID | MS_NODEV)  # shows this network's devices


def _mount(source: bytes, place: bytes, kind: bytes | None, flags: int) -> None:
    if _call_mount(source, place, kind, flags):
        reason = os.strerror(ctypes.get_errno()).lower()
        raise BackendError(f"{place.decode()} cannot be mounted: {reason}")


def _call_mount(source: bytes, place: bytes, kind: bytes | None, flags: int) -> int:
    return int(_libc.mount(source, place, kind, ctypes.c_ulong(flags), None))


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        raise BackendError(f"{name} failed: {os.strerror(ctypes.get_errno()).lower()}")


def _end_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> None:
    """Confine the run that the arguments name."""
    _end_with_parent()
    try:
        status = confine(Path(sys.argv[1]), Path(sys.argv[2]), limit_s=float(sys.argv[3]))
    except TimeoutError:
        print(json.dumps({"stage": "failed", "error": f"the run took longer than {sys.argv[3]} s"}))
        status = 1
    except BackendError as error:
        print(json.dumps({"stage": "failed", "error": str(error)}), flush=True)
        status = error.exit_code
    sys.exit(status)


if __name__ == "__main__":
    main()
