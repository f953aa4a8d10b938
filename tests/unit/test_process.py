# SPDX-License-Identifier: Apache-2.0
"""External processes: every deadline fires, and nothing is left behind."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from testbed import process
from testbed.errors import CommandError

# Says that its handlers are set, notes each signal it gets, and goes on.
STUBBORN = """
import signal, sys, time
def note(number, frame):
    print(signal.Signals(number).name, flush=True)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start background processes that cannot outlive the test."""
    started = []

    def start(*argv, **options):
        number = len(started)
        started.append(
            process.Background(
                argv,
                stdout_path=tmp_path / f"{number}.out",
                stderr_path=tmp_path / f"{number}.err",
                **options,
            )
        )
        return started[-1]

    yield start
    monkeypatch.setattr(process, "STOP_STEP_S", 0.05)
    for one in started:
        one.stop()


def said(background):
    return background.stdout_path.read_text().split()


def runs(pid):
    """Say whether a process runs; one that is dead but not reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for(condition, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_run_returns_what_was_said():
    assert process.run(["cat"], timeout_s=5, input_text="täxt\n") == "täxt\n"


def test_run_takes_bytes_that_are_no_text():
    assert process.run(["printf", r"\377"], timeout_s=5) == "\N{REPLACEMENT CHARACTER}"


def test_run_passes_environment_and_folder(tmp_path):
    said = process.run(
        ["/bin/sh", "-c", "echo $WHAT; pwd"], timeout_s=5, env={"WHAT": "x"}, cwd=tmp_path
    )
    assert said.split() == ["x", str(tmp_path)]


def test_timeout_of_run_fires():
    started = time.monotonic()
    with pytest.raises(CommandError, match=r"^sleep took longer than 0\.1 s$"):
        process.run(["sleep", "60"], timeout_s=0.1)
    assert time.monotonic() - started < 5


def test_timeouts_are_keyword_only():
    """A timeout in a wrong position would be taken for something else and ignored."""
    with pytest.raises(TypeError):
        process.run(["true"], 5)


def test_failure_quotes_the_last_line():
    with pytest.raises(CommandError) as caught:
        process.run(["sh", "-c", "echo first >&2; echo 'disk full ' >&2; exit 3"], timeout_s=5)
    assert str(caught.value).startswith("sh exited 3 after 0.")
    assert str(caught.value).endswith(' s: "disk full"')


def test_command_that_does_not_exist():
    with pytest.raises(CommandError) as caught:
        process.run(["no-such-command"], timeout_s=5)
    assert str(caught.value) == "no-such-command cannot be started: no such file or directory"


@pytest.mark.parametrize(
    ("returncode", "expected"),
    [
        (0, "exited 0"),
        (2, "exited 2"),
        (-9, "was ended by SIGKILL"),
        (-40, "was ended by signal 40"),
    ],
)
def test_ending(returncode, expected):
    assert process.ending(returncode) == expected


@pytest.mark.parametrize(
    ("text", "tail"), [("", ""), ("\n \n", ""), ("a\nb\n\n", ': "b"'), ("  a  ", ': "a"')]
)
def test_quoted_tail(text, tail):
    assert process.quoted_tail(text) == tail


def test_timeout_of_wait_fires(start):
    sleeper = start("sleep", "60")
    with pytest.raises(CommandError, match=r"^sleep took longer than 0\.05 s$"):
        sleeper.wait(timeout_s=0.05)
    assert sleeper.returncode is None


def test_timeout_of_wait_until_fires(start):
    shell = start("sh", "-c", "echo not yet >&2; sleep 60")
    wait_for(lambda: shell.stderr_path.read_text())
    with pytest.raises(CommandError) as caught:
        shell.wait_until(lambda: False, timeout_s=0.05)
    assert str(caught.value) == 'sh was not ready after 0.05 s: "not yet"'


def test_premature_exit_is_quoted(start):
    """A process that ends before it is ready is an error at once, with its last words."""
    shell = start("sh", "-c", "echo cannot bind >&2; exit 4")
    with pytest.raises(CommandError) as caught:
        shell.wait_until(lambda: False, timeout_s=60)
    assert str(caught.value) == 'sh exited 4 before it was ready: "cannot bind"'


def test_ready_process_goes_on(start):
    stubborn = start(sys.executable, "-c", STUBBORN)
    stubborn.wait_until(lambda: said(stubborn) == ["ready"], timeout_s=10)
    assert stubborn.returncode is None


def test_stop_asks_kindly_first(start):
    """SIGINT is enough for a program that listens to it, and its return code is kept."""
    kind = start(
        "sh", "-c", "trap 'echo bye; exit 7' INT; echo ready; while :; do sleep 0.01; done"
    )
    kind.wait_until(lambda: "ready" in said(kind), timeout_s=5)
    assert kind.stop() == 7
    assert said(kind) == ["ready", "bye"]


def test_stop_goes_from_int_to_term_to_kill(start, monkeypatch):
    monkeypatch.setattr(process, "STOP_STEP_S", 0.1)
    stubborn = start(sys.executable, "-c", STUBBORN)
    stubborn.wait_until(lambda: said(stubborn) == ["ready"], timeout_s=10)
    assert stubborn.stop() == -signal.SIGKILL
    assert said(stubborn) == ["ready", "SIGINT", "SIGTERM"]


def test_stop_of_an_ended_process_returns_its_code(start):
    ended = start("sh", "-c", "exit 5")
    ended.wait(timeout_s=5)
    assert (ended.stop(), ended.stop()) == (5, 5)


@pytest.mark.parametrize("leader", ["sleep 60", "exit 0"])
def test_whole_group_dies(start, leader):
    """Children that ignore SIGINT die with their parent, and also after it."""
    shell = start("sh", "-c", f"(trap '' INT TERM; exec sleep 60) & echo $!; {leader}")
    wait_for(lambda: said(shell))
    (child,) = map(int, said(shell))
    assert runs(child)
    shell.stop()
    wait_for(lambda: not runs(child))


def test_leaving_the_context_stops(tmp_path):
    paths = {"stdout_path": tmp_path / "out", "stderr_path": tmp_path / "err"}
    with pytest.raises(ZeroDivisionError), process.Background(["sleep", "60"], **paths) as sleeper:
        raise ZeroDivisionError
    assert sleeper.returncode is not None
    assert not runs(sleeper.pid)


def test_group_of_its_own(start):
    """Ctrl-C in our terminal must not reach it: we end it ourselves."""
    sleeper = start("sleep", "60")
    assert os.getpgid(sleeper.pid) == sleeper.pid != os.getpgid(0)
    assert os.getsid(sleeper.pid) != os.getsid(0)


def test_outputs_go_to_files(start):
    shell = start("sh", "-c", "echo out; echo err >&2; cat")
    assert shell.wait(timeout_s=5) == 0
    assert (said(shell), shell.stderr_path.read_text()) == (["out"], "err\n")


def test_prepare_runs_in_the_child(start, tmp_path):
    start("true", prepare=lambda: (tmp_path / "pid").write_text(str(os.getpid()))).wait(timeout_s=5)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_background_that_cannot_start(start):
    with pytest.raises(CommandError, match="^nothing cannot be started: no such file or directory"):
        start("nothing")


def test_background_whose_preparation_fails(start):
    def prepare():
        raise OSError("no such namespace")

    with pytest.raises(CommandError, match="^true cannot be started: exception occurred in pre"):
        start("true", prepare=prepare)


def test_no_process_is_left_waiting(start):
    """What was stopped has been reaped."""
    sleeper = start("sleep", "60")
    sleeper.stop()
    with pytest.raises(ChildProcessError):
        os.waitpid(sleeper.pid, os.WNOHANG)


def test_no_shell_is_between():
    """An argument with blanks and dollars arrives as it is."""
    assert process.run(["printf", "%s", "a $HOME 'b'"], timeout_s=5) == "a $HOME 'b'"
