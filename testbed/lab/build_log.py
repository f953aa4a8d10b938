# SPDX-License-Identifier: Apache-2.0
"""What the output of a kernel build says: how far it is, and why it failed. Pure functions."""

import re

_COMPILED = re.compile(rb"^  CC  ", re.MULTILINE)

# In order of what tells most: a compiler, a linker, make's own account, what unpacks.
_ERRORS = (
    re.compile(r"^\S+:\d+:(?:\d+:)? (?:fatal )?error: .*$", re.MULTILINE),
    re.compile(r"^.*: (?:fatal )?error: .*$", re.MULTILINE),
    re.compile(r"^.*(?:undefined reference to|multiple definition of) .*$", re.MULTILINE),
    re.compile(r"^.*(?:not found|No such file or directory)$", re.MULTILINE),
    re.compile(r"^.*\*\*\* .*$", re.MULTILINE),
    re.compile(r"^(?:bzip2|dpkg-deb|gzip|tar|xz|zstd): .*$", re.MULTILINE),
)
_DISK_FULL = "No space left on device"


def fraction_done(log: bytes, expected_files: int) -> float:
    """Return how much of the build is done, from 0 to 0.99: only its end is the end."""
    return min(len(_COMPILED.findall(log)) / expected_files, 0.99)


def first_error(log: str) -> str:
    """Return the line that explains best why a command failed; its last if none stands out."""
    for pattern in _ERRORS:
        if match := pattern.search(log):
            return match[0].strip()
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def is_disk_full(log: str) -> bool:
    """Say whether a command failed because a disk was full."""
    return _DISK_FULL in log
