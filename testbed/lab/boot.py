# SPDX-License-Identifier: Apache-2.0
"""Boots the lab: one kernel process that runs one command and is gone.

The command, its environment and its streams go through the folder `.lab` in the one host
folder that the guest may write to; guest_init.c describes the files.
"""

import os
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from testbed.errors import BackendError, PrerequisiteError, SpecError
from testbed.lab.guest import guest_init, warden
from testbed.lab.host import check_memory, expose, memory_folder
from testbed.lab.streams import CHUNK_BYTES, Input, Output

# The virtual clock starts here in every lab (2023-11-14 22:13:20 UTC), whatever the host's says.
CLOCK_START_S = 1_700_000_000

MIN_MEMORY_BYTES = 64 * 2**20
DEFAULT_MEMORY_BYTES = 2**30

GUEST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Enough for thousands of connections; the kernel would take 8192 for a memory of 1 GiB.
TCP_HASH_ENTRIES = 1024

# Room for what the guest says of its command's end.
STATUS_BYTES = 64

# What guest_init.c has room for.
MAX_JOB_BYTES = 2**20 - 1
MAX_JOB_RECORDS = 2**16 - 1

# Asks the warden for a folder of its own.
SCRATCH = "scratch:"

# How often the output files of the guest are looked at, in host time.
PUMP_STEP_S = 0.02


@dataclass(frozen=True)
class BootOptions:
    """What the lab is like.

    Attributes:
        seed: governs everything random in the guest.
        memory_bytes: the guest's memory; only what it touches is taken from the host.
        is_real_time: the guest's clock follows the host's instead of skipping idle time.
        cpu: the host's processor to stay on; None: any. The kernel and its user processes take
            turns, which costs a third less where they need not wake another processor.
        kernel_arguments: appended to the kernel's command line.
    """

    seed: int = 1
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    is_real_time: bool = False
    cpu: int | None = None
    kernel_arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestCommand:
    """What runs in the lab.

    Attributes:
        argv: the command, looked up in the guest's PATH.
        env: added to the few variables that every command gets.
        cwd: the working folder; `/` if the guest has no such folder.
        visible: host folders it needs although they lie below /tmp or /var, which are empty
            in the guest.
        mounts: host folders, by the absolute path at which the guest sees them, read-only.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    visible: tuple[Path, ...] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)


def kernel_argv(kernel: Path, init: Path, options: BootOptions) -> list[str]:
    """Return the kernel's command line; it depends on nothing but its arguments."""
    clock = (
        ["REAL_TIME=1"]
        if options.is_real_time
        else ["time-travel=inf-cpu", f"time-travel-start={CLOCK_START_S * 10**9}"]
    )
    return [
        str(kernel),
        f"mem={options.memory_bytes // 2**20}M",
        "rootfstype=hostfs",
        "root=/dev/root",
        "ro",
        f"init={init}",
        "con=null",
        "ssl=null",
        "con0=null",
        # No terminal as the kernel's console: then a panic prints the kernel's log.
        "console=none",
        "fb_tunnels=none",
        # Every dump of sockets walks the whole table.
        f"thash_entries={TCP_HASH_ENTRIES}",
        "seccomp=auto",
        f"testbed.seed={options.seed}",
        "testbed.writable=/proc/self/cwd",
        *clock,
        *options.kernel_arguments,
    ]


def run_in_lab(
    command: GuestCommand,
    *,
    kernel: Path,
    options: BootOptions,
    share: Path | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    terminal: str | None = None,
    cancelled: threading.Event | None = None,
) -> int:
    """Boot a lab, run a command in it, and return its exit status as a shell would.

    Args:
        command: what to run.
        kernel: the executable to boot.
        options: what the lab is like.
        share: the one host folder that the guest may write to, at /run/testbed; a scratch
            folder when None.
        stdin: read to its end and given to the command; nothing when None.
        stdout: where its standard output goes while it runs; nowhere when None.
        stderr: likewise.
        terminal: device that becomes the guest's console and the command's streams.
        cancelled: powers the lab off when another thread sets it.

    Raises:
        LabCancelled: it was.
        PrerequisiteError: this machine cannot boot it, for example for want of memory.
        BackendError: the lab died before the command ended.
    """
    _check(kernel, options)
    argv = kernel_argv(kernel, guest_init(), options)
    if terminal is not None:
        argv = [a if a != "con0=null" else "con0=fd:0,fd:1" for a in argv]
    place = f"{SCRATCH}{_scratch_base()}" if share is None else str(share.resolve())
    with _Warden(place, terminal or "-", argv) as guard:
        box = guard.folder / ".lab"
        box.mkdir(exist_ok=True)
        try:
            source = Input(stdin, box)
            (box / "job").write_bytes(_job(command, options, source.kind(terminal)))
            (box / "status").write_text("\n" * STATUS_BYTES)
            out, err = Output(box / "stdout", stdout), Output(box / "stderr", stderr)
            with closing(out), closing(err):
                guard.start(options.cpu)
                _pump(guard, source, [out, err], cancelled or threading.Event())
            return _result(command, box)
        except BrokenPipeError:
            raise  # our own output's reader has gone; the folder is well
        except OSError as error:
            raise BackendError(
                f"{guard.folder} cannot be written: {(error.strerror or str(error)).lower()}"
            ) from error
        finally:
            shutil.rmtree(box, ignore_errors=True)


class _Warden:
    """The warden process, from the folder it gives us to its end."""

    def __init__(self, place: str, terminal: str, kernel_argv: list[str]) -> None:
        env = {"TMPDIR": str(memory_folder()), "PATH": GUEST_PATH}
        self._process = subprocess.Popen(
            [str(warden()), place, terminal, *kernel_argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.fileno()
        self.folder, self._memory = self._folders()
        self._is_scratch = place.startswith(SCRATCH)

    def _folders(self) -> tuple[Path, Path]:
        """Return the folder that the guest may write to, and the one for its memory."""
        names = b""
        while names.count(b"\0") < 2:
            if not (more := os.read(self.said, CHUNK_BYTES)):
                raise BackendError(f"the lab cannot be started: {self._last_words()}")
            names += more
        folder, memory, _ = map(os.fsdecode, names.split(b"\0"))
        return Path(folder), Path(memory)

    def _last_words(self) -> str:
        _, said = self._process.communicate()
        return said.decode(errors="replace").strip()

    def start(self, cpu: int | None) -> None:
        """Give the word to boot."""
        assert self._process.stdin is not None
        if cpu is not None:
            with suppress(OSError):  # a processor that is not ours after all
                os.sched_setaffinity(self._process.pid, {cpu})
        self._process.stdin.write(b"g")
        self._process.stdin.flush()

    def __enter__(self) -> "_Warden":
        return self

    def __exit__(self, *exc: object) -> None:
        # This closes the lifeline, which ends whatever still runs, and waits for the warden.
        self._process.communicate()
        # The warden did it already, unless somebody killed it.
        shutil.rmtree(self._memory, ignore_errors=True)
        if self._is_scratch:
            shutil.rmtree(self.folder, ignore_errors=True)


class LabCancelled(Exception):
    """Another thread asked for the end of a lab."""


def _pump(guard: _Warden, source: Input, sinks: list[Output], cancelled: threading.Event) -> None:
    """Carry the streams until the lab is off."""
    is_off = False
    while not is_off:
        if cancelled.is_set():
            raise LabCancelled
        waited_for = [guard.said, *source.descriptors()]
        ready, _, _ = select.select(waited_for, [], [], PUMP_STEP_S)
        is_off = guard.said in ready
        if len(ready) > is_off:
            source.take()
        for sink in sinks:
            sink.pump()


def _check(kernel: Path, options: BootOptions) -> None:
    if options.memory_bytes < MIN_MEMORY_BYTES:
        raise SpecError(
            f"a lab with {options.memory_bytes / 2**20:.0f} MiB of memory cannot boot; "
            f"give it at least {MIN_MEMORY_BYTES // 2**20} MiB"
        )
    if not 0 <= options.seed < 2**64:
        raise SpecError(f"the seed {options.seed} is not between 0 and 2^64 - 1")
    if not kernel.is_file() or not os.access(kernel, os.X_OK):
        raise PrerequisiteError(
            f"the kernel {kernel} is not an executable file; "
            "build one with 'testbed kernel build' and see 'testbed kernel path'"
        )
    check_memory(options.memory_bytes)


def _scratch_base() -> Path:
    shm = Path("/dev/shm")
    return shm if os.access(shm, os.W_OK) else Path(tempfile.gettempdir())


def _job(command: GuestCommand, options: BootOptions, input_kind: str) -> bytes:
    env = {
        "PATH": GUEST_PATH,
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": str(options.seed % 2**32),
        "PYTHONDONTWRITEBYTECODE": "1",
        **command.env,
    }
    records = [f"c{command.cwd}", f"s{input_kind}"]
    records += [f"e{name}={value}" for name, value in sorted(env.items())]
    records += [f"x{folder}" for folder in expose(command.visible)]
    records += [f"m{place}:{folder}" for place, folder in sorted(command.mounts.items())]
    records += [f"a{argument}" for argument in command.argv]
    job = b"".join(os.fsencode(record) + b"\0" for record in records)
    if len(job) > MAX_JOB_BYTES or len(records) > MAX_JOB_RECORDS:
        raise SpecError(
            f"a command of {len(command.argv)} arguments and {len(job)} bytes is too long for the "
            "lab; put it into a script"
        )
    return job


def _result(command: GuestCommand, box: Path) -> int:
    words = (box / "status").read_text().split()
    if not words:
        raise _death(box)
    what, number = words
    if what == "lost":
        reason = os.strerror(int(number)).lower()
        raise BackendError(
            f"{box.parent}: a part of the command's output could not be written: {reason}"
        )
    if what == "exec":
        raise _not_executed(command.argv[0], int(number))
    return int(number) + (128 if what == "signal" else 0)


class CommandNotFound(BackendError):
    """The guest has no such command."""

    exit_code = 127


def _not_executed(name: str, number: int) -> BackendError:
    reason = os.strerror(number).lower()
    return CommandNotFound(f'"{name}" cannot be executed in the lab: {reason}')


def _death(box: Path) -> BackendError:
    """Say why the lab ended without a status, from what its kernel said."""
    if not os.statvfs(box).f_bavail:
        return BackendError(f"the lab died before the command ended: {box.parent} is full")
    console = box / "console"
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    panics = [line.partition("Kernel panic - ")[2] for line in lines if "Kernel panic" in line]
    said = [line for line in lines if line.strip()]
    if panics:
        cause = f"kernel panic, {panics[0]} (console log: {_keep_console(console)})"
    else:
        cause = f'its kernel ended after it said "{said[-1]}"' if said else "it said nothing"
    return BackendError(f"the lab died before the command ended: {cause}")


def _keep_console(console: Path) -> str:
    with tempfile.NamedTemporaryFile(
        dir=tempfile.gettempdir(), prefix="mptcp-testbed-console-", suffix=".log", delete=False
    ) as kept:
        kept.write(console.read_bytes())
    return kept.name
