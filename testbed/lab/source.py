# SPDX-License-Identifier: Apache-2.0
"""Where a kernel source comes from: a package of the distribution, a tarball or a folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PrerequisiteError, SpecError
from testbed.lab.apt import INSTEAD, Package, PrivateApt, find_mirror
from testbed.lab.cache import cache_dir, scratch_folder
from testbed.lab.mirror import Mirror
from testbed.lab.watch import Report

# seccomp=on, without which every system call in the lab costs two context switches more.
OLDEST_VERSION = (6, 16)

# The version that kernel/patches were written for. A suite that offers it gives the same kernel
# to everybody; a suite that has moved on gives its newest.
PREFERRED_VERSION = (7, 3)

TARBALL_SUFFIXES = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".tar.bz2", ".tar.zst")

_PACKAGE_PATTERN = "^linux-source-[0-9]"
_VERSION = re.compile(r"linux-source-(\d+)\.(\d+)(?:\.\d+)?(?:_.*)?")


@dataclass(frozen=True)
class Source:
    """A kernel source, packed or not.

    Attributes:
        name: what it is called in messages and in the kernel's record.
        path: a package (.deb), a tarball or a folder.
    """

    name: str
    path: Path


def local_source(path: Path) -> Source:
    """Return the source that a user named.

    Raises:
        SpecError: it does not exist or cannot be a source of Linux.
    """
    if path.is_dir():
        if not (path / "arch/um/Makefile").is_file():
            raise SpecError(f"{path} is not a Linux source: it has no arch/um/Makefile")
    elif not path.is_file():
        raise SpecError(f"{path} does not exist; give a Linux source folder or tarball")
    elif not path.name.endswith(TARBALL_SUFFIXES):
        raise SpecError(f"{path} is neither a folder nor a tarball ({', '.join(TARBALL_SUFFIXES)})")
    return Source(path.name, path.resolve())


def packaged_source(suite: str | None, *, refresh: bool, report: Report) -> Source:
    """Return the kernel source package of a suite, from the cache or from the mirror.

    Args:
        suite: its name; None: the first of the distribution's suites that has a source.
        refresh: ask the mirror even if the cache has a package.
        report: told about the download.

    Raises:
        SpecError: there is no such suite.
        PrerequisiteError: no suite has a source, or the mirror cannot be reached.
    """
    if not refresh and (cached := _cached_source(suite)):
        return cached
    mirror = find_mirror()
    suites = [suite] if suite else list(mirror.distribution.suites)
    for name in suites[:-1]:
        try:
            return _fetch(mirror, name, report)
        except (SpecError, _NothingThere):
            continue
    return _fetch(mirror, suites[-1], report)


def version_of(name: str) -> tuple[int, int]:
    """Return the kernel version in the name of a package or of its file; (0, 0): none."""
    match = _VERSION.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def best_name(names: Sequence[str]) -> str | None:
    """Return the preferred of the package or file names, None if all are too old."""
    usable = [name for name in names if version_of(name) >= OLDEST_VERSION]
    return max(usable, key=_preference, default=None)


class _NothingThere(PrerequisiteError):
    """A suite exists, but has no kernel source that is new enough."""


def _preference(name: str) -> tuple[bool, tuple[int, int]]:
    version = version_of(name)
    return (version == PREFERRED_VERSION, version)


def _sources_dir() -> Path:
    return cache_dir() / "sources"


def _cached_source(suite: str | None) -> Source | None:
    files = sorted(_sources_dir().glob(f"{suite or '*'}/linux-source-*.deb"))
    by_name = {path.name: path for path in files}
    best = best_name(list(by_name))
    return _as_source(by_name[best]) if best else None


def _as_source(package_file: Path) -> Source:
    name, version, _ = package_file.stem.split("_")
    return Source(
        f"{name} {version.replace('%3a', ':')} ({package_file.parent.name})", package_file
    )


def _fetch(mirror: Mirror, suite: str, report: Report) -> Source:
    report(f"look for a kernel source in {suite}", None)
    with scratch_folder(_sources_dir(), ".fetch-") as folder:
        apt = PrivateApt(folder, mirror, suite)
        apt.update()
        package = _best_package(apt.packages(_PACKAGE_PATTERN), suite)
        title = f"fetch {package.name} {package.version} ({package.size_bytes / 1e6:.0f} MB)"
        downloaded = apt.download(package, lambda fraction: report(title, fraction))
        kept = _sources_dir() / suite / downloaded.name
        kept.parent.mkdir(exist_ok=True)
        downloaded.replace(kept)
    _forget_others(kept)
    return _as_source(kept)


def _best_package(packages: Sequence[Package], suite: str) -> Package:
    by_name = {package.name: package for package in packages}
    best = best_name(list(by_name))
    if best is None:
        raise _NothingThere(
            f"the suite '{suite}' has no kernel source of 6.16 or later; "
            f"name another with --suite, or {INSTEAD}"
        )
    return by_name[best]


def _forget_others(kept: Path) -> None:
    """Remove older packages of the same suite: 170 MB each, and never used again."""
    for path in kept.parent.glob("*.deb"):
        if path != kept:
            path.unlink()
