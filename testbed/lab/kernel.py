# SPDX-License-Identifier: Apache-2.0
"""The kernels of this user: built once per state of the checkout's kernel/ folder, then kept.

A lab kernel lies in the cache as kernels/<version>-<12 hex digits>/ with the executable `linux`,
its `config`, the `build.log` and `info.json`. The digits are of the executable's own hash, so
two users with the same digits run the same bytes. A kernel for virtual machines lies likewise
in vm-kernels/, as a Debian package; the digits are of the package.
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
from testbed.lab.additions import Additions, additions_hash, additions_in
from testbed.lab.cache import (
    cache_dir,
    disk_full,
    one_build_at_a_time,
    remove_folder,
    scratch_folder,
)
from testbed.lab.kinds import KINDS, LAB, Kind
from testbed.lab.leases import hold, remove_unheld
from testbed.lab.source import Source
from testbed.lab.toolchain import require_toolchain
from testbed.lab.tree import Tree
from testbed.lab.watch import Report

PROJECT_ROOT = Path(__file__).resolve().parents[2]

# What st_blocks counts.
BLOCK_BYTES = 512

# Logs of failed builds that are kept.
KEPT_LOGS = 10


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted, or installed.

    Attributes:
        path: the executable, or the package.
        id: the version of Linux and the first digits of the hash of that file.
        release: the version of Linux; of a machine's kernel, as `uname -r` says it.
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


def find_kernel(kind: Kind = LAB) -> Kernel:
    """Return the newest kernel that was built with this checkout's kernel/ folder.

    Raises:
        PrerequisiteError: there is none.
    """
    wanted = additions_hash(find_additions(kind))
    usable = [kernel for kernel in list_kernels(kind) if kernel.additions == wanted]
    while usable and not hold(usable[-1].path.parent):
        usable.pop()  # it was removed just now
    if not usable:
        raise PrerequisiteError(
            f"no {kind.title} has been built for this checkout; run '{kind.build_command}'"
        )
    return usable[-1]


def list_kernels(kind: Kind = LAB) -> list[Kernel]:
    """Return all cached kernels of a kind, oldest first; what is damaged is none."""
    paths = _kernels_dir(kind).glob("[!.]*/info.json")
    records = (_read_record(path, kind) for path in paths)
    return sorted(filter(None, records), key=lambda kernel: kernel.built)


def unused_kernels(kind: Kind = LAB) -> list[Kernel]:
    """Return the cached kernels of a kind that this checkout does not use."""
    wanted = additions_hash(find_additions(kind))
    kernels = list_kernels(kind)
    current = [kernel for kernel in kernels if kernel.additions == wanted][-1:]
    return [kernel for kernel in kernels if kernel not in current]


def size_bytes(kernel: Kernel) -> int:
    """Return the room that a kernel takes on the disk."""
    files = kernel.path.parent.iterdir()
    return sum(file.stat().st_blocks * BLOCK_BYTES for file in files)


def remove_kernel(kernel: Kernel) -> bool:
    """Remove a kernel from the cache unless a running command uses it; say whether it is gone."""
    return remove_unheld(kernel.path.parent)


def build_kernel(source: Source, jobs: int, report: Report, kind: Kind = LAB) -> Kernel:
    """Build a kernel and keep it in the cache. The caller holds `build_lock`.

    Args:
        source: what to build.
        jobs: how many compilers at once.
        report: told about every stage.
        kind: of the kernel.

    Raises:
        PrerequisiteError: the disk is full.
        SpecError: the source is not what it should be.
        BackendError: the kernel does not build.
    """
    with scratch_folder(_kernels_dir(kind), ".build-") as folder:
        # A copy: an edit during the build must not be recorded as if it had been built.
        shutil.copytree(PROJECT_ROOT / "kernel", folder / "kernel")
        additions = additions_in(folder / "kernel", kind)
        tree = Tree(folder, kind)
        try:
            product = _make(tree, source, additions, jobs, report)
            return _keep(tree, product, source, additions_hash(additions))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise disk_full(_kernels_dir(kind)) from error
        except (BackendError, SpecError) as error:
            raise type(error)(f"{error}{_keep_log(tree)}") from error


def check_buildable(kind: Kind = LAB, free_bytes: Callable[[Path], int] = _free_bytes) -> None:
    """Check that a kernel can be built here, before anything is fetched.

    Args:
        kind: of the kernel.
        free_bytes: says how much room a folder's disk has.

    Raises:
        PrerequisiteError: a tool, a folder of the checkout or disk space is missing.
    """
    require_toolchain(kind)
    find_additions(kind)
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    if (free := free_bytes(folder)) < kind.build_bytes:
        raise PrerequisiteError(
            f"building the {kind.title} takes {kind.build_bytes / 1e9:.1f} GB of disk and "
            f"{folder} has {free / 1e9:.1f} GB; free some space, or set XDG_CACHE_HOME to a "
            "folder on another disk"
        )


@contextmanager
def build_lock(report: Report) -> Iterator[None]:
    """Let one process at a time build a kernel, of any kind; others wait and say so."""
    with one_build_at_a_time(_kernels_dir(LAB), "a kernel", report):
        _remove_stale()
        yield


def find_additions(kind: Kind = LAB) -> Additions:
    """Return what this checkout adds to a kernel.

    Raises:
        PrerequisiteError: the testbed was not started from a checkout.
    """
    folder = PROJECT_ROOT / "kernel"
    additions = additions_in(folder, kind)
    if not additions.fragments:
        raise PrerequisiteError(
            f"there is no {folder / 'config'}; the testbed runs from a checkout of its "
            "repository: clone it and run 'make setup' there"
        )
    return additions


def _kernels_dir(kind: Kind) -> Path:
    return cache_dir() / kind.folder


def _read_record(path: Path, kind: Kind) -> Kernel | None:
    try:
        record = json.loads(path.read_text())
        kernel = Kernel(path=path.parent / kind.product, config=path.parent / "config", **record)
    except (OSError, ValueError, TypeError):
        return None
    return kernel if kernel.path.is_file() and kernel.config.is_file() else None


def _make(tree: Tree, source: Source, additions: Additions, jobs: int, report: Report) -> Path:
    report(f"unpack {source.name}", None)
    tree.unpack(source)
    report("apply the additions", None)
    tree.extend(additions)
    report("configure", None)
    tree.configure(additions)
    stage = f"compile Linux {tree.release()}"
    return tree.compile(jobs, lambda fraction: report(stage, fraction))


def _keep(tree: Tree, product: Path, source: Source, additions: str) -> Kernel:
    """Move what a build made to its place in the cache, in one step."""
    finished = tree.log_path.parent / "finished"
    finished.mkdir()
    kept = product.replace(finished / tree.kind.product)
    (tree.source / ".config").replace(finished / "config")
    tree.log_path.replace(finished / "build.log")
    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
    record = {
        "id": f"{tree.version()}-{digest[:12]}",
        "release": tree.release(),
        "source": source.name,
        "additions": additions,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (finished / "info.json").write_text(json.dumps(record, indent=2) + "\n")
    place = _kernels_dir(tree.kind) / record["id"]
    _move_into_place(finished, place)
    kernel = _read_record(place / "info.json", tree.kind)
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
    patterns = ["sources/.fetch-*", *(f"{kind.folder}/.build-*" for kind in KINDS.values())]
    for pattern in patterns:
        for folder in cache_dir().glob(pattern):
            remove_folder(folder)
