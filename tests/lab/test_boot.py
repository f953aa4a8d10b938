# SPDX-License-Identifier: Apache-2.0
"""The lab: an ordinary process that boots Linux, runs one command and is gone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from testbed.lab.features import SCHEDULERS, congestion_controls
from testbed.lab.kernel import find_additions
from tests.lab.conftest import TESTBED

LOTS = 3_000_001


def test_streams_and_status_are_the_commands(lab_exec):
    done = lab_exec("sh", "-c", "echo out; echo err >&2; exit 7")

    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_a_signal_is_reported_as_a_shell_does(lab_exec):
    assert lab_exec("sh", "-c", "kill -TERM $$").returncode == 128 + 15


def test_a_missing_command_is_one_sentence(lab_exec):
    done = lab_exec("no-such-command")

    assert done.returncode == 127
    assert (
        done.stderr
        == b'testbed: "no-such-command" cannot be executed in the lab: no such file or directory\n'
    )


def test_the_kernel_has_what_its_configuration_promises(lab_exec):
    """So that a plan may be refused for what it has not."""
    lists = [
        "/proc/sys/net/ipv4/tcp_available_congestion_control",
        "/proc/sys/net/mptcp/available_schedulers",
    ]
    controls, schedulers = lab_exec("cat", *lists).stdout.decode().splitlines()

    promised = congestion_controls(path.read_text() for path in find_additions().fragments)
    assert sorted(controls.split()) == sorted(promised)
    assert schedulers.split() == [*SCHEDULERS]


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_binary_input_comes_through_unchanged(lab_exec, tmp_path, kind):
    data = os.urandom(LOTS)
    if kind == "file":
        (tmp_path / "in").write_bytes(data)
        with (tmp_path / "in").open("rb") as file:
            done = lab_exec("cat", stdin=file)
    else:
        done = lab_exec("cat", stdin=None, input=data)

    assert data == done.stdout


def test_input_that_never_ends_does_not_keep_a_command_that_does_not_read_it(lab_exec):
    read_end, write_end = os.pipe()
    try:
        done = lab_exec("true", stdin=read_end)
    finally:
        os.close(read_end)
        os.close(write_end)

    assert done.returncode == 0


def test_output_comes_while_the_command_runs(kernel):
    with subprocess.Popen(
        [TESTBED, "lab", "exec", "--real-time", "--", "sh", "-c", "echo first; sleep 60"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.readline() == b"first\n"
        process.terminate()


def test_a_thousand_virtual_seconds_take_none_of_ours(lab_exec):
    started = time.monotonic()
    done = lab_exec("sh", "-c", "date +%s; sleep 1000; date +%s")

    before, after = map(int, done.stdout.split())
    assert after - before == 1000
    assert time.monotonic() - started < 20


def test_the_virtual_clock_starts_at_a_fixed_time(lab_exec):
    assert lab_exec("date", "+%s").stdout == b"1700000000\n"


def test_real_time_follows_the_hosts_clock(lab_exec):
    done = lab_exec("date", "+%s", options=["--real-time"])

    assert abs(int(done.stdout) - time.time()) < 60


def test_the_same_seed_draws_the_same_random_numbers(lab_exec):
    command = ("head", "-c", "32", "/dev/urandom")
    first, again, other = (
        lab_exec(*command, options=["--seed", seed]).stdout for seed in ("7", "7", "8")
    )

    assert len(first) == 32
    assert first == again
    assert first != other


def test_seed_zero_is_a_seed(lab_exec):
    command = ("head", "-c", "32", "/dev/urandom")
    first, again = (lab_exec(*command, options=["--seed", "0"]).stdout for _ in range(2))

    assert first == again


def test_python_hashes_strings_by_the_seed(lab_exec):
    done = lab_exec("sh", "-c", "echo $PYTHONHASHSEED", options=["--seed", "7"])

    assert done.stdout == b"7\n"


def test_timers_tick_a_thousand_times_a_second(lab_exec):
    done = lab_exec("sh", "-c", "zcat /proc/config.gz | grep ^CONFIG_HZ=")

    assert done.stdout == b"CONFIG_HZ=1000\n"


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/var/log", "/run", "/dev/shm"])
def test_what_programs_expect_to_write_is_writable_and_empty(lab_exec, folder):
    done = lab_exec("sh", "-c", f"echo x > {folder}/testbed-probe && ls {folder}/testbed-probe")

    assert f"{folder}/testbed-probe\n".encode() == done.stdout
    assert not Path(folder, "testbed-probe").exists()


@pytest.mark.parametrize(
    "attempt",
    [
        "touch /etc/testbed-probe",
        "mount -o remount,rw / && touch /etc/testbed-probe",
        "mkdir /tmp/m && mount -t hostfs none /tmp/m -o / && touch /tmp/m/etc/testbed-probe",
        "mkdir /tmp/m && mount -t hostfs none /tmp/m -o /etc && "
        "mount -o remount,rw /tmp/m && touch /tmp/m/testbed-probe",
    ],
)
def test_not_even_the_guests_root_writes_to_the_host(lab_exec, attempt):
    done = lab_exec("sh", "-c", attempt)

    assert done.returncode != 0
    assert not Path("/etc/testbed-probe").exists()


# A second mount of the shared folder changes it behind the back of the first one.
SWAP = """
mkdir /run/again && mount -t hostfs none /run/again -o /proc/self/cwd || exit 0
mkdir /run/testbed/a && cd /run/testbed/a
rmdir /run/again/a && ln -s {outside} /run/again/a
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "echo x > ./probe",
        "echo x > /run/testbed/a/probe",
        "echo x > known",
        "mkdir probe",
        "rm known",
        "mv known /run/testbed/known",
        "mknod /run/testbed/device c 1 3",
    ],
)
def test_a_link_in_the_shared_folder_does_not_lead_out_of_it(lab_exec, tmp_path, attempt):
    """hostfs knows a folder by its path; the host has to see to it that it still is that folder."""
    share, outside = tmp_path / "share", tmp_path / "outside"
    share.mkdir()
    outside.mkdir()
    (outside / "known").write_text("kept")
    script = SWAP.format(outside=outside) + attempt
    done = lab_exec("sh", "-c", script, options=["--share", str(share)])

    assert done.returncode != 0
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"known": "kept"}
    assert not (share / "device").exists()


def test_folders_and_files_of_the_shared_folder_may_be_moved_and_removed(lab_exec, tmp_path):
    script = "cd /run/testbed && mkdir a b && echo x > a/f && mv a/f b/g && ln b/g h && rmdir a"
    done = lab_exec("sh", "-c", script, options=["--share", str(tmp_path)])

    assert done.returncode == 0, done.stderr
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "b",
        "b/g",
        "h",
    ]


def test_the_shared_folder_is_writable_and_keeps_nothing_of_ours(lab_exec, tmp_path):
    done = lab_exec(
        "sh", "-c", "echo result > /run/testbed/result", options=["--share", str(tmp_path)]
    )

    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["result"]
    assert (tmp_path / "result").read_text() == "result\n"


def test_a_working_folder_below_tmp_is_visible(lab_exec, tmp_path):
    (tmp_path / "here").write_text("seen")

    assert lab_exec("cat", "here", cwd=tmp_path).stdout == b"seen"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--memory", "100000G"], b"does not fit"),
        (["--memory", "5M"], b"at least 64 MiB"),
        (["--memory", "1"], b"is not a quantity"),
        (["--seed", "-1"], b"-1 is not in the range"),
        (["--kernel", "/etc/passwd"], b"is not an executable file"),
        (["--kernel", "/nonexistent"], b"is not an executable file"),
        (["--kernel", "/bin/false"], b"the lab died before the command ended"),
        (["--share", "/nonexistent"], b"does not exist"),
    ],
)
def test_a_wrong_option_is_one_sentence(lab_exec, options, words):
    done = lab_exec("true", options=options)

    assert done.returncode != 0
    assert words in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_panic_is_one_sentence_with_its_cause(kernel, tmp_path):
    from testbed.errors import BackendError
    from testbed.lab.boot import BootOptions, GuestCommand, run_in_lab

    options = BootOptions(kernel_arguments=("init=/nonexistent",))
    with pytest.raises(BackendError) as caught:
        run_in_lab(GuestCommand(["true"]), kernel=kernel.path, options=options)

    sentence, _, log = str(caught.value).partition(" (console log: ")
    assert (
        sentence == "the lab died before the command ended: kernel panic, not syncing: "
        "Requested init /nonexistent failed (error -2)."
    )
    kept = Path(log.rstrip(")"))
    assert "Linux version" in kept.read_text()
    kept.unlink()


def test_a_guest_that_runs_out_of_memory_ends_with_a_status(lab_exec):
    program = "b = bytearray(10**9)\nfor i in range(0, len(b), 4096): b[i] = 1"
    done = lab_exec(sys.executable, "-c", program, options=["--memory", "128M"])

    assert done.returncode != 0


def test_the_shell_is_interactive(kernel):
    """A person's terminal gets a prompt, line editing and the exit status of the shell."""
    import pty

    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [TESTBED, "lab", "shell"], stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    said = _read_until(controller, b"# ")
    os.write(controller, b"echo $((6*7)); exit 5\n")
    said += _read_until(controller, b"42")

    assert b"lab:" in said
    assert process.wait(timeout=30) == 5
    os.close(controller)


def _read_until(fd, end):
    import select

    said = b""
    deadline = time.monotonic() + 30
    while end not in said and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.1)[0]:
            said += os.read(fd, 4096)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; run as root")
def test_a_user_without_any_privilege_is_root_in_the_lab(kernel, tmp_path, monkeypatch):
    import shutil

    from testbed.lab import guest
    from testbed.lab.boot import BootOptions, GuestCommand, run_in_lab

    # The user can enter neither our home nor pytest's folder.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        guest.warden(), guest.guest_init()
        copy = Path(shutil.copy(kernel.path, folder / "linux"))
        said = folder / "said"
        said.touch()
        said.chmod(0o666)
        child = os.fork()
        if not child:
            status = 99
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                command = GuestCommand(["id", "-u"])
                with said.open("wb") as out:
                    status = run_in_lab(command, kernel=copy, options=BootOptions(), stdout=out)
            finally:
                os._exit(status)
        _, wait_status = os.waitpid(child, 0)

        assert (os.waitstatus_to_exitcode(wait_status), said.read_text()) == (0, "0\n")


@pytest.fixture
def small_disk(tmp_path):
    """Yield the start of a command that sees a folder on a disk of 1 MiB, and the folder."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk; run as root")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=1M none {folder} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, "sh"], folder


def test_a_full_disk_is_one_sentence_and_no_success(kernel, small_disk):
    prefix, folder = small_disk
    script = "head -c 3000000 /dev/zero > /run/testbed/x; sync /run/testbed/x; echo done"
    done = subprocess.run(
        [*prefix, TESTBED, "lab", "exec", "--share", folder, "--", "sh", "-c", script],
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.endswith(b"no space left on device\n")


# The plan of so short a ride fits; what is recorded of it does not.
RIDE = ("--size", "20MB", "--duration", "30s")


def test_a_ride_whose_results_do_not_fit_fails_with_one_sentence(kernel, small_disk):
    prefix, folder = small_disk
    done = subprocess.run(
        [*prefix, TESTBED, "offload", "--out", folder, "--mode", "mptcp-full", *RIDE],
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"no space left on device" in done.stderr + done.stdout


def test_names_are_looked_up_in_the_guest_and_not_in_the_hosts_network(lab_exec):
    """The host's name servers are out of reach; waiting for them would cost virtual seconds."""
    command = (
        "date +%s; getent hosts lab; getent hosts example.test; cat /etc/resolv.conf; date +%s"
    )
    before, address, after = lab_exec("sh", "-c", command).stdout.splitlines()

    assert address.split() == [b"127.0.0.1", b"localhost", b"lab"]
    assert before == after


def test_many_arguments_arrive_all(lab_exec):
    done = lab_exec("sh", "-c", 'echo $#; shift 29999; echo "$1"', "sh", *range(30_000))

    assert done.stdout == b"30000\n29999\n"


def test_a_command_that_is_too_long_is_refused(lab_exec):
    done = lab_exec("true", *range(70_000))

    assert done.returncode == 2
    assert b"is too long for the lab; put it into a script" in done.stderr
