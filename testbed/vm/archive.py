# SPDX-License-Identifier: Apache-2.0
"""Where a box's packages come from: the Debian mirror that this machine's apt is configured for.

No host is written down here; who has no Debian names one with --mirror.
"""

from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PrerequisiteError
from testbed.lab.mirror import DISTRIBUTIONS, choose_mirror

SUITE = "trixie"
KERNEL_SUITES = {"backports": "trixie-backports", "stable": "trixie"}
OURS = "ours"
KERNELS = (*KERNEL_SUITES, OURS)
DEFAULT_KERNEL = "backports"
_DEBIAN = DISTRIBUTIONS[0]


@dataclass(frozen=True)
class Archive:
    """Debian's archive as this machine reaches it.

    Attributes:
        uri: of the main archive.
        security_uri: of the archive of security updates, "" if none is known.
        suite: the release of Debian.
    """

    uri: str
    security_uri: str
    suite: str = SUITE

    @property
    def keyring(self) -> Path:
        """The keys of the archive, if the machine has them."""
        return _DEBIAN.keyring

    def source_lines(self, kernel: str) -> list[str]:
        """Return the lines of a sources file for a box with one of KERNELS."""
        suites = dict.fromkeys([self.suite, f"{self.suite}-updates"])
        suites |= {KERNEL_SUITES[kernel]: None} if kernel != OURS else {}
        lines = [f"deb {self.uri} {suite} main" for suite in suites]
        if self.security_uri:
            lines.append(f"deb {self.security_uri} {self.suite}-security main")
        return lines


def choose_archive(targets: str, os_release: dict[str, str]) -> Archive:
    """Choose the archive from what apt on this machine is configured for.

    Args:
        targets: lines in `mirror.TARGET_FORMAT`.
        os_release: the fields of /etc/os-release.

    Raises:
        PrerequisiteError: it is not Debian's.
    """
    try:
        mirror = choose_mirror(targets, os_release)
    except PrerequisiteError:
        raise _no_archive() from None
    if mirror.distribution != _DEBIAN:
        raise _no_archive()
    fields = [line.split("\t") for line in targets.splitlines()]
    security = [f[0] for f in fields if len(f) == 5 and f[1].endswith("-security")]
    return Archive(mirror.uri, security[0] if security else "")


def _no_archive() -> PrerequisiteError:
    return PrerequisiteError(
        "apt on this machine knows no Debian archive to build a box from; name a mirror of "
        "Debian with --mirror, or use a box from elsewhere with 'testbed vm up --box NAME'"
    )
