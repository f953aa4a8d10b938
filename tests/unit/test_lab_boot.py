# SPDX-License-Identifier: Apache-2.0
"""Booting the lab, as far as it goes without a kernel: command line, job and verdict."""

import sys
from pathlib import Path

import pytest

from testbed.errors import BackendError, PrerequisiteError, SpecError
from testbed.lab import boot
from testbed.lab.boot import BootOptions, GuestCommand, kernel_argv, run_in_lab

KERNEL, INIT = Path("/cache/linux"), Path("/cache/guest_init")


def records(job):
    """Return the records of a job file as text."""
    assert job.endswith(b"\0")
    return job[:-1].decode(errors="surrogateescape").split("\0")


def of_kind(job, letter):
    return [record[1:] for record in records(job) if record[0] == letter]


def test_kernel_command_line_is_complete():
    """Nothing of this machine is in it, so a run can be repeated elsewhere."""
    assert kernel_argv(KERNEL, INIT, BootOptions(seed=7, memory_bytes=2**28)) == [
        "/cache/linux",
        "mem=256M",
        "rootfstype=hostfs",
        "root=/dev/root",
        "ro",
        "init=/cache/guest_init",
        "con=null",
        "ssl=null",
        "con0=null",
        "console=none",
        "fb_tunnels=none",
        "thash_entries=1024",
        "seccomp=auto",
        "testbed.seed=7",
        "testbed.writable=/proc/self/cwd",
        "time-travel=inf-cpu",
        "time-travel-start=1700000000000000000",
    ]


def test_real_time_has_no_virtual_clock():
    argv = kernel_argv(KERNEL, INIT, BootOptions(is_real_time=True))
    assert "REAL_TIME=1" in argv
    assert not [word for word in argv if word.startswith("time-travel")]


def test_kernel_arguments_come_last():
    argv = kernel_argv(KERNEL, INIT, BootOptions(kernel_arguments=("quiet", "loglevel=7")))
    assert argv[-2:] == ["quiet", "loglevel=7"]


def test_job_has_the_command_word_by_word():
    words = ["sh", "-c", "echo $HOME;  ls 'a b'", "", "line\nbreak", "täxt"]
    assert of_kind(boot._job(GuestCommand(words), BootOptions(), "none"), "a") == words


def test_job_keeps_bytes_that_are_no_text():
    job = boot._job(GuestCommand(["\udcff"]), BootOptions(), "none")
    assert job.endswith(b"a\xff\0")


def test_job_says_where_and_with_which_input():
    job = boot._job(GuestCommand(["true"], cwd=Path("/srv/x")), BootOptions(), "file")
    assert records(job)[:2] == ["c/srv/x", "sfile"]


def test_job_has_an_environment_of_its_own(monkeypatch):
    """Nothing of ours comes in unasked; what is asked for replaces the few defaults."""
    monkeypatch.setenv("SECRET", "x")
    command = GuestCommand(["true"], env={"HOME": "/root", "B": "2", "A": "1"})
    env = of_kind(boot._job(command, BootOptions(seed=2**32 + 5), "none"), "e")
    assert env == [
        "A=1",
        "B=2",
        "HOME=/root",
        "LANG=C.UTF-8",
        f"PATH={boot.GUEST_PATH}",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONHASHSEED=5",
    ]


def test_job_names_hidden_folders(tmp_path):
    """A folder below /tmp is shown to the guest; one elsewhere is there anyway."""
    command = GuestCommand(["true"], visible=(tmp_path, Path("/usr/lib")))
    shown = of_kind(boot._job(command, BootOptions(), "none"), "x")
    assert str(tmp_path.resolve()) in shown
    assert "/usr/lib" not in shown


def test_job_is_repeatable():
    command = GuestCommand(["true"], env={"B": "2", "A": "1"})
    again = GuestCommand(["true"], env={"A": "1", "B": "2"})
    assert boot._job(command, BootOptions(), "none") == boot._job(again, BootOptions(), "none")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("exit 0", 0), ("exit 3\n\n\n", 3), ("signal 9", 137), ("signal 15", 143)],
)
def test_result_is_that_of_a_shell(tmp_path, status, expected):
    (tmp_path / "status").write_text(status)
    assert boot._result(GuestCommand(["x"]), tmp_path) == expected


def test_command_that_the_guest_has_not(tmp_path):
    (tmp_path / "status").write_text("exec 2")
    with pytest.raises(BackendError) as caught:
        boot._result(GuestCommand(["nosuch", "-v"]), tmp_path)
    assert str(caught.value) == (
        '"nosuch" cannot be executed in the lab: no such file or directory'
    )
    assert caught.value.exit_code == 127


def test_output_that_was_lost(tmp_path):
    """A command whose output is not complete has not succeeded, whatever its status was."""
    (tmp_path / "status").write_text("lost 28")
    with pytest.raises(BackendError) as caught:
        boot._result(GuestCommand(["x"]), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path.parent}: a part of the command's output could not be written: "
        "no space left on device"
    )


@pytest.fixture
def dead(tmp_path):
    """Give the letter box of a lab that wrote no status."""
    (tmp_path / "status").write_text("\n" * boot.STATUS_BYTES)
    return tmp_path


def test_death_without_a_word(dead):
    with pytest.raises(BackendError) as caught:
        boot._result(GuestCommand(["x"]), dead)
    assert str(caught.value) == "the lab died before the command ended: it said nothing"


def test_death_quotes_the_console(dead):
    (dead / "console").write_text("booting\nout of memory\n\n")
    with pytest.raises(
        BackendError, match='ended: its kernel ended after it said "out of memory"$'
    ):
        boot._result(GuestCommand(["x"]), dead)


def test_panic_is_quoted_and_its_console_kept(dead, monkeypatch):
    console = "x\nKernel panic - not syncing: no init\n---[ end ]---\n"
    kept = dead / "kept"
    kept.mkdir()
    monkeypatch.setattr(boot.tempfile, "gettempdir", lambda: str(kept))
    (dead / "console").write_text(console)
    with pytest.raises(BackendError) as caught:
        boot._result(GuestCommand(["x"]), dead)
    (log,) = kept.iterdir()
    assert log.read_text() == console
    assert str(caught.value) == (
        "the lab died before the command ended: kernel panic, not syncing: no init "
        f"(console log: {log})"
    )


def test_death_on_a_full_disk(dead, monkeypatch):
    class Full:
        f_bavail = 0

    monkeypatch.setattr(boot.os, "statvfs", lambda folder: Full)
    with pytest.raises(BackendError, match=f"ended: {dead.parent} is full$"):
        boot._result(GuestCommand(["x"]), dead)


def boot_with(options, kernel=Path(sys.executable)):
    return run_in_lab(GuestCommand(["true"]), kernel=kernel, options=options)


def test_too_little_memory_is_refused():
    with pytest.raises(SpecError, match="^a lab with 63 MiB of memory cannot boot; give it at le"):
        boot_with(BootOptions(memory_bytes=63 * 2**20))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(SpecError, match=rf"^the seed {seed} is not between 0 and 2\^64 - 1$"):
        boot_with(BootOptions(seed=seed))


def test_memory_that_does_not_fit_is_refused():
    with pytest.raises(PrerequisiteError, match="^a lab with 1048576.0 GiB of memory does not fit"):
        boot_with(BootOptions(memory_bytes=2**50))


@pytest.mark.parametrize("name", ["missing", "plain", "."])
def test_kernel_that_is_no_program_is_refused(tmp_path, name):
    (tmp_path / "plain").write_text("")
    with pytest.raises(PrerequisiteError) as caught:
        boot_with(BootOptions(), kernel=tmp_path / name)
    assert str(caught.value) == (
        f"the kernel {tmp_path / name} is not an executable file; "
        "build one with 'testbed kernel build' and see 'testbed kernel path'"
    )
