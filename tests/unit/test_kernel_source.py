# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from testbed.errors import PrerequisiteError, SpecError
from testbed.lab.source import best_name, local_source, packaged_source, version_of

# An apt of our own at the edge: the suite decides what happens, as the mirror would.
FAKE_APT = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$FAKE_APT_CALLS"
conf=${1#--config-file=}
folder=${conf%/apt.conf}
suite=$(sed 's/ main$//; s/.* //' "$folder/sources.list" 2>/dev/null)
case "$*" in
indextargets*--no-release-info*) ;;
indextargets*) printf 'http://mirror.example/debian/\\tstable\\tmain\\tDebian\\tDebian\\n' ;;
*update)
    case $suite in
    nosuch)
        echo "E: The repository 'http://mirror.example nosuch Release' does not have a" \
            "Release file." >&2
        exit 100 ;;
    unreachable)
        echo "E: Failed to fetch http://mirror.example/x  Could not resolve 'mirror.example'" >&2
        exit 100 ;;
    unsigned)
        echo "E: The repository 'http://mirror.example unsigned InRelease' is not signed." >&2
        exit 100 ;;
    odd)
        echo "E: Failed to fetch http://mirror.example/x  Hash Sum mismatch" >&2
        exit 100 ;;
    esac ;;
*search*)
    echo "W: something apt warns about" >&2
    echo "linux-source-6.12 - Linux kernel source"
    [ $suite = old ] || echo "linux-source-7.3 - Linux kernel source" ;;
*show*) printf 'Package: x\\nVersion: 7.3.4-1\\nSize: 8\\n' ;;
*download*)
    echo package > linux-source-7.3_7.3.4-1_all.deb.partial
    [ $suite != broken ] || { echo "E: Connection failed" >&2; exit 100; }
    mv linux-source-7.3_7.3.4-1_all.deb.partial linux-source-7.3_7.3.4-1_all.deb ;;
esac
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mptcp-testbed"


@pytest.fixture
def apt_calls(tmp_path, cache, monkeypatch) -> Path:
    """Put our own apt first in PATH and return the file in which it notes its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "apt-cache"):
        (folder / name).write_text(FAKE_APT)
        (folder / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_APT_CALLS", str(calls))
    return calls


def ignore(stage: str, fraction: float | None) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("linux-source-7.3", (7, 3)),
        ("linux-source-6.17.0", (6, 17)),
        ("linux-source-7.3_7.3.4-1~bpo13+1_all.deb", (7, 3)),
        ("linux-source", (0, 0)),
        ("linux-source-rt-7.3", (0, 0)),
    ],
)
def test_version_is_read_from_names(name, version):
    """Debian's and Ubuntu's names of packages and of their files tell the version."""
    assert version_of(name) == version


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["linux-source-6.1", "linux-source-6.12"], None),
        (["linux-source-6.16", "linux-source-6.9"], "linux-source-6.16"),
        (["linux-source-7.9", "linux-source-7.10"], "linux-source-7.10"),
        (["linux-source-7.3", "linux-source-7.10"], "linux-source-7.3"),
        ([], None),
    ],
    ids=["too-old", "old", "newest", "preferred", "nothing"],
)
def test_best_source_is_the_preferred_or_the_newest(names, best):
    """The version our patches were written for wins, else the newest; 6.16 is the oldest."""
    assert best_name(names) == best


def test_package_is_fetched_once(apt_calls, cache):
    """A package is downloaded into the cache and taken from there the next time."""
    first = packaged_source("good", refresh=False, report=ignore)
    assert first.path == cache / "sources/good/linux-source-7.3_7.3.4-1_all.deb"
    assert first.name == "linux-source-7.3 7.3.4-1 (good)"
    calls = apt_calls.read_text()
    assert packaged_source("good", refresh=False, report=ignore) == first
    assert packaged_source(None, refresh=False, report=ignore) == first
    assert apt_calls.read_text() == calls


def test_older_package_goes_when_a_newer_comes(apt_calls, cache):
    """A refreshed suite keeps one package."""
    old = cache / "sources/good/linux-source-7.2_7.2.9-1_all.deb"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    packaged_source("good", refresh=True, report=ignore)
    assert [path.name for path in old.parent.iterdir()] == ["linux-source-7.3_7.3.4-1_all.deb"]


def test_download_is_reported(apt_calls):
    """The callback hears what is fetched and how large it is."""
    stages = []
    packaged_source("good", refresh=False, report=lambda stage, _: stages.append(stage))
    assert stages[0] == "look for a kernel source in good"
    assert stages[-1].startswith("fetch linux-source-7.3 7.3.4-1")


@pytest.mark.parametrize(
    ("suite", "error", "sentence"),
    [
        ("nosuch", SpecError, "the Debian mirror of this machine has no suite 'nosuch'"),
        ("unreachable", PrerequisiteError, "the Debian mirror of this machine cannot be reached"),
        ("unsigned", PrerequisiteError, "no key to verify Debian's suite 'unsigned'"),
        ("old", PrerequisiteError, "the suite 'old' has no kernel source of 6.16 or later"),
        ("odd", PrerequisiteError, "(Failed to fetch the mirror  Hash Sum mismatch)"),
        ("broken", PrerequisiteError, "cannot be reached"),
    ],
)
def test_failures_are_one_sentence_without_the_mirrors_name(
    apt_calls, cache, suite, error, sentence
):
    """Whatever apt says, the user hears what to do, and nothing half-fetched stays."""
    with pytest.raises(error) as raised:
        packaged_source(suite, refresh=False, report=ignore)
    assert sentence in str(raised.value)
    assert "--source" in str(raised.value)
    assert "example" not in str(raised.value)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_interrupted_download_leaves_nothing(apt_calls, cache):
    """Ctrl-C during the download removes what is there of it."""

    def interrupt(stage: str, fraction: float | None) -> None:
        if stage.startswith("fetch"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packaged_source("good", refresh=False, report=interrupt)
    assert list((cache / "sources").iterdir()) == []


def test_no_apt_is_a_prerequisite(cache, monkeypatch, tmp_path):
    """On a machine without apt the message says to give a source."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=r"no apt .*--source"):
        packaged_source(None, refresh=False, report=ignore)


def test_named_source_must_exist(tmp_path):
    """A source that does not exist is the user's mistake."""
    with pytest.raises(SpecError, match="does not exist"):
        local_source(tmp_path / "linux.tar.xz")


def test_named_source_must_be_a_tarball_or_a_tree(tmp_path):
    """A file of another kind and a folder of another project are refused before any work."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SpecError, match="neither a folder nor a tarball"):
        local_source(tmp_path / "notes.txt")
    with pytest.raises(SpecError, match="not a Linux source"):
        local_source(tmp_path)


def test_named_tarball_is_accepted(tmp_path):
    """A tarball is known by its suffix; what is in it is seen when it is unpacked."""
    tarball = tmp_path / "linux-7.3.4.tar.xz"
    tarball.write_text("")
    assert local_source(tarball).name == "linux-7.3.4.tar.xz"
