# SPDX-License-Identifier: Apache-2.0
"""Does on the target what the controller asks for over a connection that may be lost.

    python3 -I CODE VERB [ARGUMENT ...]

Every verb can be asked again when the answer was lost. Answers are lines of JSON on standard
output, but for `send`, which gives the bytes of files. A session has a folder with code/ and run/:
run.json and raw/ as always, `progress` with the runner's reports, `pid` with who supervises it, and
`ended`.
"""

import hashlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from testbed.emulation.memory import fix_memory
from testbed.errors import TestbedError
from testbed.target.confine import confine
from testbed.target.machine import examine_machine, kernel_identity

PREFIX = "mptcp-testbed-"
CODE, RUN = "code", "run"
PID, PROGRESS, ENDED, LOG = "pid", "progress", "ended", "runner.log"

# `ended` is made with this size before the run, so that a full disk cannot keep it from us.
ENDED_BYTES = 4096
LOOK_S, BEAT_S = 0.1, 1.0
CHUNK_BYTES = 1 << 18
STOP_S = 10.0


def say(answer: dict[str, Any]) -> None:
    """Write one line of the answer."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def check() -> None:
    """Say what this machine has and lacks, and what its kernel is."""
    say({"kernel": kernel_identity(), "findings": [asdict(one) for one in examine_machine()]})


def start(session: str, limit_s: str, own: str = "") -> None:
    """Start the run of a session, unless it has been started, and say so.

    Args:
        session: its folder.
        limit_s: seconds after which the run is ended.
        own: "own" for a machine whose settings as a whole may change.
    """
    place = Path(session) / RUN
    if not (place / PID).exists():
        (place / "raw").mkdir(exist_ok=True)
        (place / ENDED).write_text(" " * ENDED_BYTES)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.close(reading)
            if own:
                fix_memory(json.loads((place / "run.json").read_text()).get("memory_factor", 1))
            _supervise(place, float(limit_s), writing)
        os.close(writing)
        os.read(reading, 1)  # the other end is closed when the file `pid` is there
    say({"started": (place / PID).exists()})


def _supervise(folder: Path, limit_s: float, writing: int) -> None:
    """Leave the session of the connection and see the run through; never returns."""
    os.setsid()
    _write_pid(folder)
    with (folder / PROGRESS).open("wb") as out, (folder / LOG).open("wb") as log:
        null = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((null, out.fileno(), log.fileno())):
            os.dup2(descriptor, number)
    os.close(writing)
    ended: dict[str, Any] = {"status": None}
    try:
        ended["status"] = confine(folder, folder.parent / CODE, limit_s=limit_s)
    except TimeoutError:
        ended["error"] = f"the run took longer than {limit_s:.0f} s and was ended"
    except TestbedError as error:
        ended["error"] = str(error)
    if ended["status"] != 0 and _is_full(folder):
        ended["error"] = (
            f"the disk of {folder.parent.parent} on the target is full; make room there"
        )
    with (folder / ENDED).open("r+") as file:
        file.write(json.dumps(ended))
    os._exit(0)


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < CHUNK_BYTES


def _write_pid(folder: Path) -> None:
    fresh = folder / f"{PID}.new"
    fresh.write_text(f"{os.getpid()} {_started(os.getpid())}")
    fresh.rename(folder / PID)


def _started(pid: int) -> str | None:
    """Return when a process was started, in ticks since the boot; None if it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def _supervisor(folder: Path) -> int | None:
    """Return the process that supervises the run of a folder, if it still does."""
    try:
        pid, _, started = (folder / PID).read_text().partition(" ")
    except OSError:
        return None
    return int(pid) if _started(int(pid)) == started else None


def follow(session: str, offset: str) -> None:
    """Say each report of the run from an offset of the file on, that we live, and its end."""
    place, at = Path(session) / RUN, int(offset)
    beat_s = 0.0
    while True:
        ended = _ended(place)
        at = _say_progress(place / PROGRESS, at)
        if ended is not None:
            return say({"ended": ended})
        if time.monotonic() >= beat_s + BEAT_S:
            beat_s = time.monotonic()
            say({"lives": True})
        # Nobody writes to us: what becomes readable here is the end of the connection.
        if select.select([sys.stdin], [], [], LOOK_S)[0]:
            return None


def _ended(folder: Path) -> dict[str, Any] | None:
    lives = _supervisor(folder) is not None
    said = (folder / ENDED).read_text().strip()
    if said:
        found: dict[str, Any] = json.loads(said)
        return found
    return None if lives else {"status": None, "error": "the run was killed on its machine"}


def _say_progress(file: Path, at: int) -> int:
    with file.open("rb") as reports:
        reports.seek(at)
        data = reports.read()
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        at += len(line)
        say({"offset": at, "report": line.decode(errors="replace")})
    return at


def stop(session: str) -> None:
    """End the run of a session, if it still goes on, and say that it is over."""
    place = Path(session) / RUN
    deadline = time.monotonic() + STOP_S
    while (pid := _supervisor(place)) is not None and time.monotonic() < deadline:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            break
        time.sleep(LOOK_S)
    say({"stopped": _supervisor(place) is None})


def manifest(session: str) -> None:
    """Say size and hash of every file that the run left."""
    place = Path(session) / RUN
    files = {
        str(path.relative_to(place)): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in _left(place)
    }
    say({"files": files})


def _left(folder: Path) -> list[Path]:
    wanted = [*sorted((folder / "raw").rglob("*")), folder / LOG, folder / "target.json"]
    return [path for path in wanted if path.is_file() and not path.is_symlink()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(session: str, first: str, offset: str) -> None:
    """Write the bytes of the manifest's files one after the other.

    Args:
        session: its folder.
        first: number of the first file.
        offset: of its first byte.
    """
    at = int(offset)
    for path in _left(Path(session) / RUN)[int(first) :]:
        with path.open("rb") as file:
            file.seek(at)
            shutil.copyfileobj(file, sys.stdout.buffer, CHUNK_BYTES)
        at = 0
    sys.stdout.buffer.flush()


def remove(session: str) -> None:
    """Remove what was put here for a session, whose run must have ended."""
    place = Path(session)
    if not place.name.startswith(PREFIX) or _supervisor(place / RUN) is not None:
        return say({"error": f"{session} is not ours to remove"})
    shutil.rmtree(place, ignore_errors=True)
    return say({"removed": not place.exists()})


VERBS: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (check, start, follow, stop, manifest, send, remove)
}


def main() -> None:
    """Do what the arguments say; what goes wrong is part of the answer, if that is JSON."""
    try:
        VERBS[sys.argv[1]](*sys.argv[2:])
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    except TestbedError as error:
        say({"error": str(error)})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if sys.argv[1] == send.__name__:
            sys.exit(1)
        say({"error": f"{error.filename or 'the target'}: {reason}"})
