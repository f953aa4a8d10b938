# SPDX-License-Identifier: Apache-2.0
"""For whom root builds a box: with sudo, for the user who called it, into that user's folders."""

import os
import pwd
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from testbed.vm.places import boxes_dir, state_dir


class Owner(NamedTuple):
    """A user who called sudo."""

    uid: int
    gid: int
    home: Path


def invoking_user(environment: Mapping[str, str], euid: int) -> Owner | None:
    """Return who called sudo, or None if nobody did."""
    try:
        uid = int(environment["SUDO_UID"])
        entry = pwd.getpwuid(uid)
    except (KeyError, ValueError):
        return None
    if euid or not uid:
        return None
    return Owner(uid, entry.pw_gid, Path(entry.pw_dir))


@contextmanager
def acting_for(
    owner: Owner | None, environment: MutableMapping[str, str] = os.environ
) -> Iterator[None]:
    """Use the folders of a user for a while, and give the user what is new in them."""
    if owner is None:
        yield
        return
    # sudo takes them away; who wants other folders says so after sudo.
    environment.setdefault("XDG_CACHE_HOME", str(owner.home / ".cache"))
    environment.setdefault("XDG_STATE_HOME", str(owner.home / ".local" / "state"))
    try:
        yield
    finally:
        for folder in (boxes_dir(), state_dir()):
            _give(folder, owner)


def _give(folder: Path, owner: Owner) -> None:
    """Make a user the owner of a folder and all in it, and of its parents that root just made."""
    for parent in (folder.parent, folder.parent.parent, folder.parent.parent.parent):
        if parent.is_relative_to(owner.home) and parent != owner.home and parent.exists():
            os.chown(parent, owner.uid, owner.gid)
    if folder.exists():
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
