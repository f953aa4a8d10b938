# SPDX-License-Identifier: Apache-2.0
"""What the lab takes from this machine."""

import os
import tempfile
from pathlib import Path

import pytest

from testbed.errors import PrerequisiteError
from testbed.lab import host


def test_folder_that_allows_execution(tmp_path):
    assert host.allows_execution(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not(tmp_path, monkeypatch):
    """A file system mounted with noexec refuses the mapping."""

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(host.mmap, "mmap", refuse)
    assert not host.allows_execution(tmp_path)


def test_folder_that_is_not_there(tmp_path):
    assert not host.allows_execution(tmp_path / "none")


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [({"/dev/shm", "tmp", "home"}, "/dev/shm"), ({"tmp", "home"}, "tmp"), ({"home"}, "home")],
)
def test_memory_is_the_first_choice(monkeypatch, allowed, expected):
    places(monkeypatch, allowed)
    assert host.memory_folder() == Path(expected)


def test_no_place_for_memory(monkeypatch):
    places(monkeypatch, set())
    with pytest.raises(PrerequisiteError) as caught:
        host.memory_folder()
    assert str(caught.value).startswith("none of /dev/shm, tmp, home is writable and mounted with")
    assert str(caught.value).endswith("remount one with 'mount -o remount,exec /dev/shm'")


def places(monkeypatch, allowed):
    monkeypatch.setattr(host.tempfile, "gettempdir", lambda: "tmp")
    monkeypatch.setattr(host.Path, "home", lambda: Path("home"))
    monkeypatch.setattr(host, "allows_execution", lambda folder: str(folder) in allowed)


def test_available_memory_is_that_of_the_kernel():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < host.available_memory_bytes() <= total


def test_memory_that_fits(monkeypatch):
    monkeypatch.setattr(host, "available_memory_bytes", lambda: 2**20)
    host.check_memory(2**20)


@pytest.mark.parametrize(("available", "free"), [(2**29, 2**40), (2**40, 2**29)])
def test_memory_that_does_not_fit(monkeypatch, available, free):
    """Both the memory and the place for its file must be large enough."""

    class Disk:
        f_bavail, f_frsize = free, 1

    monkeypatch.setattr(host, "available_memory_bytes", lambda: available)
    monkeypatch.setattr(host.os, "statvfs", lambda folder: Disk)
    monkeypatch.setattr(host, "memory_folder", lambda: Path("/dev/shm"))
    host.check_memory(2**29)
    with pytest.raises(PrerequisiteError) as caught:
        host.check_memory(2**30)
    assert str(caught.value) == (
        f"a lab with 1.0 GiB of memory does not fit: {available / 2**30:.1f} GiB of memory are "
        f"available and {free / 2**30:.1f} GiB free in /dev/shm; give it less with --memory"
    )


def test_hidden_folders_are_exposed():
    """Of those asked for, the ones below folders that are empty in the guest."""
    wanted = [Path("/var/lib/x"), Path("/opt/y"), Path("/tmp/venv"), Path("/variable")]
    assert host.expose(wanted) == [Path("/tmp/venv"), Path("/var/lib/x")]


def test_links_are_followed(tmp_path, monkeypatch):
    """A folder that only points below /tmp is hidden too."""
    monkeypatch.setattr(host, "COVERED", (tmp_path / "covered",))
    (tmp_path / "covered" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "covered" / "real")
    assert host.expose([tmp_path / "link"]) == [(tmp_path / "covered" / "real").resolve()]


@pytest.mark.parametrize("place", ["/tmp", "/var", tempfile.gettempdir()])
def test_covered_folder_itself_stays_empty(place, monkeypatch):
    """It would show the guest all of the host's."""
    monkeypatch.setattr(host, "COVERED", (*host.COVERED, Path(tempfile.gettempdir())))
    assert Path(place) not in host.expose([Path(place)])
