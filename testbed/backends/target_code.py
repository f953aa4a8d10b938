# SPDX-License-Identifier: Apache-2.0
"""The part of this project that runs on the target, as a folder of its own.

The target must behave the same from whichever checkout it is driven, and whether or not the
checkout's modules happen to be compiled: in virtual time even that shifts the clock by a tick.
"""

import hashlib
import py_compile
import shutil
import sys
from pathlib import Path

from testbed.lab.cache import cache_dir, scratch_folder
from testbed.lab.leases import hold, remove_old

PACKAGE = Path(__file__).resolve().parents[1]

# What testbed.runner reaches; standard library apart from that.
PARTS = (
    "__init__.py",
    "collectors",
    "content.py",
    "emulation",
    "errors.py",
    "netlink",
    "packet.py",
    "precopy.py",
    "process.py",
    "recorder.py",
    "rundir.py",
    "runner.py",
    "target",
    "target_facts.py",
    "timetable.py",
    "workloads",
)


def target_code(place: str) -> Path:
    """Return a folder with the compiled package, made when it is not in the cache.

    It stays there as long as this process lives; of other versions of the code only a few do.

    Args:
        place: where the folder will be on the target; tracebacks name it.
    """
    files = target_files()
    digest = hashlib.sha256(f"{place}\0{sys.version}".encode())
    for name in files:
        digest.update(f"\0{name}\0".encode() + (PACKAGE / name).read_bytes())
    folder = cache_dir() / "target" / digest.hexdigest()[:16]
    while not hold(folder):
        with scratch_folder(folder.parent, ".target-") as scratch:
            fresh = scratch / folder.name
            for name in files:
                _install(name, fresh, place)
            _rename(fresh, folder)
        if hold(folder):
            remove_old(folder.parent.iterdir())
    return folder


def target_files() -> list[str]:
    """Return the modules of the target, relative to the package."""
    found: list[Path] = []
    for part in PARTS:
        path = PACKAGE / part
        found += [path] if path.is_file() else path.rglob("*.py")
    return sorted(str(path.relative_to(PACKAGE)) for path in found)


def _install(name: str, folder: Path, place: str) -> None:
    module = folder / "testbed" / name
    module.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PACKAGE / name, module)
    py_compile.compile(
        str(module),
        dfile=f"{place}/testbed/{name}",
        doraise=True,
        # Never compared with the source again: the folder is named after its content.
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _rename(fresh: Path, folder: Path) -> None:
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.exists():  # else somebody else was faster, with the same content
            raise
