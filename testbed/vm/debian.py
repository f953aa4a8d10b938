# SPDX-License-Identifier: Apache-2.0
"""Asks this machine's apt which archive of Debian it is configured for."""

import shutil

from testbed.errors import PrerequisiteError
from testbed.lab.apt import OS_RELEASE, configured_targets
from testbed.lab.mirror import parse_os_release
from testbed.vm.archive import Archive, choose_archive


def find_archive() -> Archive:
    """Return Debian's archive as this machine reaches it.

    Raises:
        PrerequisiteError: this machine has no apt, or one of another distribution.
    """
    if not shutil.which("apt-get"):
        raise PrerequisiteError(
            "this machine has no apt to fetch packages with; build the box on a Debian machine, "
            "or use a box from elsewhere with 'testbed vm up --box NAME'"
        )
    os_release = parse_os_release(OS_RELEASE.read_text()) if OS_RELEASE.exists() else {}
    return choose_archive(configured_targets(), os_release)
