# SPDX-License-Identifier: Apache-2.0
"""Which package mirror and which suites to ask for a kernel source.

The mirror is the one the machine is configured for, so that proxies, local mirrors and
country mirrors are respected and no host name is written down here. Pure functions on what
`apt-get indextargets` and /etc/os-release say.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PrerequisiteError

# One line per index; a value that apt does not know stays as its placeholder.
TARGET_FORMAT = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)\t$(LABEL)"


@dataclass(frozen=True)
class Distribution:
    """A distribution whose archive has kernel sources.

    Attributes:
        name: as in the ID of os-release.
        origin: Origin and Label of its archive; its security archive has another label or
            another suite.
        suites: where to look for a source, best first.
        keyring: the key of the archive, if the machine has it.
    """

    name: str
    origin: str
    suites: tuple[str, ...]
    keyring: Path


DISTRIBUTIONS = (
    # Stable's own kernel (6.12) has no seccomp mode for User-Mode Linux, which came with 6.16.
    # Backports follow testing's kernel and are signed with keys that a stable machine has.
    Distribution(
        "debian",
        "Debian",
        ("trixie-backports", "forky"),
        Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    ),
    # No backports of kernels there: a newer release itself, the one with long support first.
    Distribution(
        "ubuntu",
        "Ubuntu",
        ("resolute", "questing"),
        Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
    ),
)


@dataclass(frozen=True)
class Mirror:
    """A package archive as this machine reaches it."""

    distribution: Distribution
    uri: str

    def source_line(self, suite: str) -> str:
        """Return the line of a sources file that makes apt look at one suite."""
        options = ["target=Packages"]
        if self.distribution.keyring.exists():
            options.append(f"signed-by={self.distribution.keyring}")
        return f"deb [{' '.join(options)}] {self.uri} {suite} main\n"


@dataclass(frozen=True)
class _Target:
    uri: str
    release: str
    component: str
    origin: str
    label: str


def choose_mirror(targets: str, os_release: Mapping[str, str]) -> Mirror:
    """Choose the mirror of the distribution's main archive.

    Args:
        targets: lines in TARGET_FORMAT.
        os_release: the fields of /etc/os-release; they decide where apt has not fetched its
            lists yet and therefore knows no origin.

    Raises:
        PrerequisiteError: no configured source is a distribution with kernel sources.
    """
    fields = (line.split("\t") for line in targets.splitlines())
    candidates = [_Target(*field) for field in fields if len(field) == 5]
    for target in candidates:
        if target.component != "main" or target.release.endswith("-security"):
            continue
        for distribution in DISTRIBUTIONS:
            if _belongs(target, distribution, os_release):
                return Mirror(distribution, target.uri)
    raise PrerequisiteError(
        "apt on this machine has no Debian or Ubuntu archive to fetch a kernel source from; "
        "give a source of Linux 6.16 or later with --source"
    )


def parse_os_release(text: str) -> dict[str, str]:
    """Return the fields of an os-release file."""
    return dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.MULTILINE))


def _belongs(target: _Target, distribution: Distribution, os_release: Mapping[str, str]) -> bool:
    if not target.origin.startswith("$("):
        return target.origin == target.label == distribution.origin
    codenames = {value for key, value in os_release.items() if key.endswith("_CODENAME")}
    return distribution.name == _nearest_relative(os_release) and target.release in codenames


def _nearest_relative(os_release: Mapping[str, str]) -> str | None:
    """Return the known distribution that this one is or comes from; Ubuntu is like Debian too."""
    names = [distribution.name for distribution in DISTRIBUTIONS]
    relatives = [os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()]
    return next((relative for relative in relatives if relative in names), None)
