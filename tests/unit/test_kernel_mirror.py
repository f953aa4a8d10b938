# SPDX-License-Identifier: Apache-2.0
import pytest

from testbed.errors import PrerequisiteError
from testbed.lab.mirror import DISTRIBUTIONS, choose_mirror, parse_os_release

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
NOBLE = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_CODENAME": "noble"}
MINT = {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "UBUNTU_CODENAME": "noble"}

# As apt 2.6 prints them for TARGET_FORMAT, with other host names.
DEBIAN = """\
https://deb.vendor.example/node/\tnodistro\tmain\tVendor\tVendor
http://security.example/debian-security/\tbookworm-security\tmain\tDebian\tDebian-Security
http://mirror.example/debian/\tbookworm\tmain\tDebian\tDebian
http://mirror.example/debian/\tbookworm-updates\tmain\tDebian\tDebian
"""
UBUNTU = """\
http://security.example/ubuntu/\tnoble-security\tmain\tUbuntu\tUbuntu
http://mirror.example/ubuntu/\tnoble\tuniverse\tUbuntu\tUbuntu
http://mirror.example/ubuntu/\tnoble\tmain\tUbuntu\tUbuntu
"""
# apt-get indextargets --no-release-info, on a machine that never ran apt-get update.
NEVER_UPDATED = """\
https://deb.vendor.example/node/\tnodistro\tmain\t$(ORIGIN)\t$(LABEL)
http://security.example/debian-security/\tbookworm-security\tmain\t$(ORIGIN)\t$(LABEL)
http://mirror.example/debian/\tbookworm\tmain\t$(ORIGIN)\t$(LABEL)
"""
NEVER_UPDATED_UBUNTU = """\
http://mirror.example/ubuntu/\tnoble\tmain\t$(ORIGIN)\t$(LABEL)
"""


@pytest.mark.parametrize(
    ("targets", "os_release", "name", "uri"),
    [
        (DEBIAN, BOOKWORM, "debian", "http://mirror.example/debian/"),
        (UBUNTU, NOBLE, "ubuntu", "http://mirror.example/ubuntu/"),
        (UBUNTU, MINT, "ubuntu", "http://mirror.example/ubuntu/"),
        (NEVER_UPDATED, BOOKWORM, "debian", "http://mirror.example/debian/"),
        (NEVER_UPDATED_UBUNTU, NOBLE, "ubuntu", "http://mirror.example/ubuntu/"),
        (NEVER_UPDATED_UBUNTU, MINT, "ubuntu", "http://mirror.example/ubuntu/"),
    ],
    ids=["debian", "ubuntu", "derivative", "never-updated", "never-ubuntu", "never-derivative"],
)
def test_main_archive_is_chosen(targets, os_release, name, uri):
    """The main archive is found among vendors' and security archives, updated or not."""
    mirror = choose_mirror(targets, os_release)
    assert (mirror.distribution.name, mirror.uri) == (name, uri)


@pytest.mark.parametrize("targets", ["", "\n", DEBIAN.splitlines()[0], DEBIAN.splitlines()[1]])
def test_no_archive_is_a_prerequisite(targets):
    """Without a distribution's main archive the message says to give a source."""
    with pytest.raises(PrerequisiteError, match="--source"):
        choose_mirror(targets, BOOKWORM)


def test_source_line_asks_for_one_suite():
    """The private sources file names the machine's mirror and the suite that was asked for."""
    line = choose_mirror(DEBIAN, BOOKWORM).source_line("trixie-backports")
    assert line.endswith("] http://mirror.example/debian/ trixie-backports main\n")


def test_every_distribution_has_a_suite():
    """The table has no distribution without a suite to look into."""
    assert all(distribution.suites for distribution in DISTRIBUTIONS)


def test_os_release_is_read_with_and_without_quotes():
    """Values in os-release may be quoted."""
    fields = parse_os_release('ID=debian\nVERSION="12 (bookworm)"\nVERSION_CODENAME=bookworm\n')
    assert fields == {"ID": "debian", "VERSION": "12 (bookworm)", "VERSION_CODENAME": "bookworm"}
