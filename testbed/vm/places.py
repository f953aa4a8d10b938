# SPDX-License-Identifier: Apache-2.0
"""Where the virtual machine's files lie, and what is known of the one that exists."""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed.errors import SpecError
from testbed.lab.cache import cache_dir
from testbed.lab.kernel import PROJECT_ROOT
from testbed.rundir import read_json, write_json

VAGRANT_FOLDER = PROJECT_ROOT / "vagrant"
DEFAULT_NAME = "mptcp-testbed"
DEFAULT_MEMORY_MIB = 2048
MIN_MEMORY_MIB = 512

# The emulated processor's clock counts instructions of 2^0 = 1 ns each (QEMU's -icount): a fast
# processor in the guest's time, however long the work takes here. With 8 ns the guest was too slow
# for Squid, captures and samples at 10 Mbit/s; with 1 ns it is 90 % idle there.
EMULATED_ICOUNT_SHIFT = 0


@dataclass(frozen=True)
class Vm:
    """A virtual machine as it was asked for.

    Attributes:
        name: of the machine, also for the hypervisor.
        provider: libvirt, virtualbox or qemu.
        box: identifier of our own box, or the name of one from elsewhere.
        is_own_box: whether the box was built here.
        is_accelerated: by KVM; otherwise the processor is emulated.
        memory_mib: its memory.
        processors: its virtual processors.
        folder: the checkout's folder with the Vagrantfile.
        ssh_port: on this machine's loopback interface; 0: the provider decides.
    """

    name: str
    provider: str
    box: str
    is_own_box: bool
    is_accelerated: bool
    memory_mib: int
    processors: int
    folder: str = str(VAGRANT_FOLDER)
    ssh_port: int = 0

    def __post_init__(self) -> None:
        """Refuse what no provider would take."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", self.name):
            raise SpecError(
                f'the name "{self.name}" is not 1 to 40 of the characters a-z, 0-9 and -, '
                "beginning with no -; give another with --name"
            )
        if self.memory_mib < MIN_MEMORY_MIB:
            raise SpecError(
                f"a virtual machine with {self.memory_mib} MiB of memory does not boot; give it "
                f"at least {MIN_MEMORY_MIB} MiB with --memory"
            )
        if not self.is_accelerated and self.processors != 1:
            raise SpecError(
                "an emulated processor counts instructions, which works with one only; "
                "leave --processors away"
            )

    def record(self) -> None:
        """Remember that this machine exists."""
        state_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(_record_path(), asdict(self))


def recorded_vm() -> Vm | None:
    """Return the machine that `vm up` made and `vm destroy` has not removed."""
    try:
        return Vm(**read_json(_record_path()))
    except (OSError, ValueError, TypeError):
        return None


def forget_vm() -> None:
    """Remember no machine."""
    _record_path().unlink(missing_ok=True)


def state_dir() -> Path:
    """Return the user's folder for the machine's state; it may not exist yet.

    A relative XDG_STATE_HOME is ignored, as the XDG base directory specification asks.
    """
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".local" / "state"
    return base / "mptcp-testbed"


def boxes_dir() -> Path:
    """Return where boxes lie."""
    return cache_dir() / "boxes"


def vagrant_home() -> Path:
    """Return what Vagrant takes for its own: unpacked boxes, its index of machines."""
    return cache_dir() / "vagrant"


def _record_path() -> Path:
    return state_dir() / "vm.json"
