# SPDX-License-Identifier: Apache-2.0
"""libvirt's daemons, started by the testbed where no system instance runs, and stopped again.

On a machine with systemd they are the system's, and are left alone. In a container without one,
its init script would mount over the control groups, so the daemons are started directly.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from testbed.errors import CommandError, PrerequisiteError
from testbed.lab.watch import Report
from testbed.process import run
from testbed.vm.places import state_dir
from testbed.vm.qemu import wait_until

# In this order; stopped in the other.
DAEMONS = ("virtlogd", "libvirtd")
SYSTEM = "qemu:///system"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def answers() -> bool:
    """Say whether a libvirt of the system answers this user."""
    try:
        run(["virsh", "-c", SYSTEM, "version", "--daemon"], timeout_s=30)
    except CommandError:
        return False
    return True


def start_daemons(report: Report) -> None:
    """Start libvirt if none answers.

    Raises:
        PrerequisiteError: it is not installed, or this user may not start it.
    """
    if answers():
        return
    programs = [_find(name) for name in DAEMONS]
    if os.geteuid() or Path("/run/systemd/system").is_dir():
        raise PrerequisiteError(
            "libvirt does not answer this user; start it with 'sudo systemctl start libvirtd' "
            "and join its group with 'sudo adduser $USER libvirt', or use --provider qemu"
        )
    report("start libvirt", None)
    state_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, program in zip(DAEMONS, programs, strict=True):
        if _pid(name) is None:
            run(
                [program, "--daemon", "--pid-file", str(_pid_path(name))], timeout_s=START_TIMEOUT_S
            )
    if not wait_until(answers, START_TIMEOUT_S):
        stop_daemons()
        raise PrerequisiteError(
            "libvirtd was started but does not answer; see /var/log/libvirt, or use --provider qemu"
        )


def stop_daemons() -> None:
    """Stop the daemons that we started, if there are any."""
    for name in reversed(DAEMONS):
        if (pid := _pid(name)) is None:
            continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if wait_until(lambda name=name: _pid(name) is None, STOP_TIMEOUT_S):  # type: ignore[misc]
                break
        _pid_path(name).unlink(missing_ok=True)


def are_ours() -> bool:
    """Say whether the libvirt that runs was started by us."""
    return _pid(DAEMONS[-1]) is not None


def _find(name: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *SBIN])
    if (found := shutil.which(name, path=path)) is None:
        raise PrerequisiteError(
            f"this machine has no {name}; run './setup vm', or use --provider qemu"
        )
    return found


def _pid_path(name: str) -> Path:
    return state_dir() / f"{name}.pid"


def _pid(name: str) -> int | None:
    """Return the pid of a daemon that we started; a pid that another program has is not it."""
    try:
        pid = int(_pid_path(name).read_text())
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    return pid if is_running(stat, name) else None


def is_running(stat: str, name: str) -> bool:
    """Say from /proc/PID/stat whether that is a program of this name which has not ended.

    Who has ended stays in the list until its parent has taken notice, here the machine's init.
    """
    found, _, rest = stat.partition("(")[2].rpartition(")")
    return found == name and rest.split()[0] != "Z"
