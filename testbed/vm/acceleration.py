# SPDX-License-Identifier: Apache-2.0
"""Whether KVM works here. That /dev/kvm exists is no proof: nested, it may hang every guest."""

import os
import subprocess
import tempfile
from pathlib import Path

from testbed.rundir import read_json, write_json
from testbed.vm.places import state_dir

KVM = Path("/dev/kvm")
QEMU = "qemu-system-x86_64"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

# A kernel without a disk panics within two seconds where KVM works, and then QEMU ends.
PROBE_TIMEOUT_S = 20.0
SAID = b"Kernel panic - not syncing"


def kvm_argv(kernel: Path, console: Path) -> list[str]:
    """Return the command that boots a kernel which has nothing to boot into."""
    return [
        QEMU,
        *("-accel", "kvm", "-cpu", "host", "-m", "256", "-smp", "1"),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
        *("-serial", f"file:{console}"),
    ]


def probe_kvm(kernel: Path, *, timeout_s: float = PROBE_TIMEOUT_S) -> str:
    """Return why KVM cannot be used, or "" if a kernel boots with it; asked once per boot."""
    if not KVM.exists():
        return f"there is no {KVM}"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return f"{KVM} may not be opened by this user"
    record = state_dir() / "kvm.json"
    asked = {"boot": BOOT_ID.read_text().strip(), "kernel": kernel.parent.name}
    try:
        known = read_json(record)
    except (OSError, ValueError):
        known = {}
    if known.get("asked") != asked:
        known = {"asked": asked, "problem": _try_kvm(kernel, timeout_s)}
        state_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(record, known)
    return str(known["problem"])


def _try_kvm(kernel: Path, timeout_s: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        console = Path(folder) / "console"
        try:
            subprocess.run(
                kvm_argv(kernel, console),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return f"{KVM} exists, but a kernel that was started with it hung for {timeout_s:g} s"
        except OSError as error:
            return f"{QEMU} cannot be started: {(error.strerror or str(error)).lower()}"
        if console.exists() and SAID in console.read_bytes():
            return ""
        return f"{KVM} exists, but a kernel does not boot with it"
