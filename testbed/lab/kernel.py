# SPDX-License-Identifier: Apache-2.0
"""The lab kernels of this user: built once per state of the checkout's kernel/ folder, then kept.

A kernel lies in the cache as kernels/<release>-<12 hex digits>/ with the executable `linux`,
its `config`, the `build.log` and `info.json`. The digits are of the executable's own hash, so
two users with the same digits run the same bytes.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import BackendError, PrerequisiteError, SpecError
from testbed.lab.cache import (
    cache_dir,
    disk_full,
    one_build_at_a_time,
    remove_folder,
    scratch_folder,
)
from testbed.lab.leases import hold, remove_unheld
from testbed.lab.source import Source
from testbed.lab.toolchain import require_toolchain
from testbed.lab.tree import Additions, Tree
from testbed.lab.watch import Report

PROJECT_ROOT = Path(__file__).resolve().parents[2]

# Measured for 7.3.4: 1.4 GB of source, objects and kernel at the peak, and a package of 0.2 GB.
BUILD_BYTES = 1_800_000_000

# What st_blocks counts.
BLOCK_BYTES = 512

# Logs of failed builds that are kept.
KEPT_LOGS = 10


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted.

    Attributes:
        path: the executable.
        id: release and the first digits of the executable's hash.
        release: the version of Linux.
        source: what it was built from.
        additions: hash of the kernel/ folder that it was built with.
        config: its complete configuration.
        built: when, ISO 8601 in UTC.
    """

    path: Path
    id: str
    release: str
    source: str
    additions: str
    config: Path
    built: str


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def find_kernel() -> Kernel:
    """Return the newest kernel that was built with this checkout's kernel/ folder.

    Raises:
        PrerequisiteError: there is none.
    """
    wanted = additions_hash(find_additions())
    usable = [kernel for kernel in list_kernels() if kernel.additions == wanted]
    while usable and not hold(usable[-1].path.parent):
        usable.pop()  # it was removed just now
    if not usable:
        raise PrerequisiteError(
            "no lab kernel has been built for this checkout; run 'testbed kernel build'"
        )
    return usable[-1]


def list_kernels() -> list[Kernel]:
    """Return all cached kernels, oldest first; what is damaged is none."""
    records = map(_read_record, _kernels_dir().glob("[!.]*/info.json"))
    return sorted(filter(None, records), key=lambda kernel: kernel.built)


def unused_kernels() -> list[Kernel]:
    """Return the cached kernels that this checkout does not use."""
    wanted = additions_hash(find_additions())
    kernels = list_kernels()
    current = [kernel for kernel in kernels if kernel.additions == wanted][-1:]
    return [kernel for kernel in kernels if kernel not in current]


def size_bytes(kernel: Kernel) -> int:
    """Return the room that a kernel takes on the disk."""
    files = kernel.path.parent.iterdir()
    return sum(file.stat().st_blocks * BLOCK_BYTES for file in files)


def remove_kernel(kernel: Kernel) -> bool:
    """Remove a kernel from the cache unless a running command uses it; say whether it is gone."""
    return remove_unheld(kernel.path.parent)


def build_kernel(source: Source, jobs: int, report: Report) -> Kernel:
    """Build a kernel and keep it in the cache. The caller holds `build_lock`.

    Args:
        source: what to build.
        jobs: how many compilers at once.
        report: told about every stage.

    Raises:
        PrerequisiteError: the disk is full.
        SpecError: the source is not what it should be.
        BackendError: the kernel does not build.
    """
    with scratch_folder(_kernels_dir(), ".build-") as folder:
        # A copy: an edit during the build must not be recorded as if it had been built.
        shutil.copytree(PROJECT_ROOT / "kernel", folder / "kernel")
        additions = _additions_in(folder / "kernel")
        tree = Tree(folder)
        try:
            _make(tree, source, additions, jobs, report)
            return _keep(tree, source, additions_hash(additions))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise disk_full(_kernels_dir()) from error
        except (BackendError, SpecError) as error:
            raise type(error)(f"{error}{_keep_log(tree)}") from error


def check_buildable(free_bytes: Callable[[Path], int] = _free_bytes) -> None:
    """Check that a kernel can be built here, before anything is fetched.

    Args:
        free_bytes: says how much room a folder's disk has.

    Raises:
        PrerequisiteError: a tool, a folder of the checkout or disk space is missing.
    """
    require_toolchain()
    find_additions()
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    if (free := free_bytes(folder)) < BUILD_BYTES:
        raise PrerequisiteError(
            f"building the lab kernel takes {BUILD_BYTES / 1e9:.1f} GB of disk and {folder} has "
            f"{free / 1e9:.1f} GB; free some space, or set XDG_CACHE_HOME to a folder on "
            "another disk"
        )


@contextmanager
def build_lock(report: Report) -> Iterator[None]:
    """Let one process at a time build; others wait and say so."""
    with one_build_at_a_time(_kernels_dir(), "a lab kernel", report):
        _remove_stale()
        yield


def find_additions() -> Additions:
    """Return what this checkout adds to a kernel.

    Raises:
        PrerequisiteError: the testbed was not started from a checkout.
    """
    folder = PROJECT_ROOT / "kernel"
    additions = _additions_in(folder)
    if not additions.fragments:
        raise PrerequisiteError(
            f"there is no {folder / 'config'}; the testbed runs from a checkout of its "
            "repository: clone it and run 'make setup' there"
        )
    return additions


def _additions_in(folder: Path) -> Additions:
    return Additions(
        fragments=sorted((folder / "config").glob("*.config")),
        patches=sorted((folder / "patches").glob("*.patch")),
        modules=folder / "modules",
    )


def additions_hash(additions: Additions) -> str:
    """Return the hash of the names and contents of all additions."""
    modules = sorted(path for path in additions.modules.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in [*additions.fragments, *additions.patches]:
        _add_file(digest, path.name, path)
    for path in modules:
        _add_file(digest, str(path.relative_to(additions.modules)), path)
    return digest.hexdigest()


def _add_file(digest: "hashlib._Hash", name: str, path: Path) -> None:
    content = path.read_bytes()
    digest.update(f"{name}\0{len(content)}\0".encode())
    digest.update(content)


def _kernels_dir() -> Path:
    return cache_dir() / "kernels"


def _read_record(path: Path) -> Kernel | None:
    try:
        record = json.loads(path.read_text())
        kernel = Kernel(path=path.parent / "linux", config=path.parent / "config", **record)
    except (OSError, ValueError, TypeError):
        return None
    return kernel if kernel.path.is_file() and kernel.config.is_file() else None


def _make(tree: Tree, source: Source, additions: Additions, jobs: int, report: Report) -> None:
    report(f"unpack {source.name}", None)
    tree.unpack(source)
    report("apply the additions", None)
    tree.extend(additions)
    report("configure", None)
    tree.configure(additions)
    tree.compile(jobs, lambda fraction: report(f"compile Linux {tree.release()}", fraction))


def _keep(tree: Tree, source: Source, additions: str) -> Kernel:
    """Move what a build made to its place in the cache, in one step."""
    finished = tree.log_path.parent / "finished"
    finished.mkdir()
    (tree.source / "linux").replace(finished / "linux")
    (tree.source / ".config").replace(finished / "config")
    tree.log_path.replace(finished / "build.log")
    digest = hashlib.sha256((finished / "linux").read_bytes()).hexdigest()
    record = {
        "id": f"{tree.release()}-{digest[:12]}",
        "release": tree.release(),
        "source": source.name,
        "additions": additions,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (finished / "info.json").write_text(json.dumps(record, indent=2) + "\n")
    place = _kernels_dir() / record["id"]
    _move_into_place(finished, place)
    kernel = _read_record(place / "info.json")
    if kernel is None:
        raise BackendError(f"{place} was removed just after its kernel had been built; try again")
    return kernel


def _move_into_place(finished: Path, place: Path) -> None:
    try:
        finished.rename(place)
    except OSError:  # the same kernel was built before, with the same bytes
        for path in finished.iterdir():
            path.replace(place / path.name)


def _keep_log(tree: Tree) -> str:
    """Save the log of a failed build and return where it is, as the end of a sentence."""
    if not tree.log_path.exists():
        return ""
    logs = cache_dir() / "logs"
    logs.mkdir(exist_ok=True)
    kept = logs / f"kernel-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    shutil.copyfile(tree.log_path, kept)
    for old in sorted(logs.glob("kernel-*.log"))[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
    return f" (log: {kept})"


def _remove_stale() -> None:
    """Remove what builds and downloads left that were killed; the caller holds the lock."""
    for folder in [*cache_dir().glob("kernels/.build-*"), *cache_dir().glob("sources/.fetch-*")]:
        remove_folder(folder)
