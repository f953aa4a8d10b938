# SPDX-License-Identifier: Apache-2.0
"""What a checkout's kernel/ folder adds to a kernel source, and how that is told apart."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.lab.kinds import Kind

# Of the hash, in the release of a kernel that says which additions it has.
TAG_DIGITS = 8


@dataclass(frozen=True)
class Additions:
    """What the testbed adds to a kernel source.

    Attributes:
        fragments: files of wanted symbols; a later one overrides an earlier one.
        patches: in the order in which they are applied.
        modules: a folder that is copied over the source.
    """

    fragments: Sequence[Path]
    patches: Sequence[Path]
    modules: Path


def additions_in(folder: Path, kind: Kind) -> Additions:
    """Return what a kernel/ folder adds to one kind of kernel."""
    configs = [sorted((folder / name).glob("*.config")) for name in kind.config_folders]
    patches = sorted((folder / "patches").glob("*.patch"))
    return Additions(
        fragments=[path for paths in configs for path in paths],
        patches=[path for path in patches if kind.takes(path.read_text())],
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


def local_version(additions: Additions, kind: Kind) -> str:
    """Return what follows the version in a kernel's release.

    A machine's kernel says with it which additions it has. The lab's record says so; its own
    release is the plain version.
    """
    return "" if kind.is_process else f"-testbed-{additions_hash(additions)[:TAG_DIGITS]}"


def _add_file(digest: "hashlib._Hash", name: str, path: Path) -> None:
    content = path.read_bytes()
    digest.update(f"{name}\0{len(content)}\0".encode())
    digest.update(content)
