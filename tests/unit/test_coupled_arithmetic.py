# SPDX-License-Identifier: Apache-2.0
"""The fixed-point arithmetic of kernel/modules/net/mptcp against the published formulas.

The kernel's own files are compiled into a program, with overflows and divisions by zero trapped.
"""

import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "kernel/modules/net/mptcp"
SHIM = ROOT / "kernel/tests"
HEADERS = (
    "linux/hashtable.h",
    "linux/list.h",
    "linux/math64.h",
    "linux/minmax.h",
    "linux/module.h",
    "linux/rcupdate.h",
    "linux/slab.h",
    "linux/spinlock.h",
    "linux/types.h",
    "linux/util_macros.h",
    "net/tcp.h",
    "protocol.h",
)
PACKET = 2**40

# The exactness of a share is 2^-30 and that of a step 2^-40 of a packet, or what is left of the
# smallest relative rate when round trips differ by a factor of 10^7.
RELATIVE = Fraction(1, 2**10)
ABSOLUTE = 16

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")


@dataclass(frozen=True)
class Subflow:
    """A subflow: window in packets, round trip in 1/8 us, bytes between losses, state."""

    window: int
    rtt: int
    run: int
    state: str = "a"


WINDOWS = st.one_of(st.integers(1, 64), st.integers(1, 2**20))
RTTS = st.one_of(st.integers(8, 80_000), st.integers(8, 480_000_000))
PATHS = st.builds(Subflow, WINDOWS, RTTS, st.integers(0, 2**40))
GROUPS = st.lists(PATHS, min_size=2, max_size=9)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coupled")
    for name in HEADERS:
        header = folder / name
        header.parent.mkdir(exist_ok=True)
        header.write_text('#include "shim.h"\n')
    argv = ["gcc", "-O1", "-g", "-Wall", "-Wno-unused-function", "-fsanitize=undefined,address"]
    argv += ["-fno-sanitize-recover=all", f"-I{folder}", f"-I{SHIM}", f"-I{MODULES}"]
    done = subprocess.run(
        [*argv, str(SHIM / "steps.c"), "-o", str(folder / "steps")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "steps"


def ask(program: Path, paths: list[Subflow], asked: int = 0) -> list[str]:
    lines = [f"{len(paths)} {asked}"]
    lines += [f"{path.window} {path.rtt} {path.run} {path.state}" for path in paths]
    done = subprocess.run(
        [str(program)], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def rate(path: Subflow) -> Fraction:
    return Fraction(path.window, path.rtt)


def lia(paths: list[Subflow]) -> Fraction:
    """RFC 6356, sections 3 and 4, in packets."""
    total = sum(path.window for path in paths)
    best = max(Fraction(path.window, path.rtt**2) for path in paths)
    alpha = total * best / sum(map(rate, paths)) ** 2
    return min(alpha / total, Fraction(1, paths[0].window))


def quality(path: Subflow) -> Fraction:
    return Fraction(path.run, path.rtt**2)


def olia(paths: list[Subflow]) -> Fraction:
    me = paths[0]
    largest = max(path.window for path in paths)
    best = max(map(quality, paths))
    collected = [path for path in paths if quality(path) == best and path.window != largest]
    widest = [path for path in paths if path.window == largest]
    alpha = Fraction(0)
    if collected and me.window == largest:
        alpha = Fraction(-1, len(paths) * len(widest))
    elif collected and quality(me) == best:
        alpha = Fraction(1, len(paths) * len(collected))
    first = Fraction(me.window, me.rtt**2) / sum(map(rate, paths)) ** 2
    return first + alpha / me.window


def balia(paths: list[Subflow]) -> tuple[Fraction, Fraction]:
    """Return the step and how much a loss takes away."""
    me = paths[0]
    ratio = max(map(rate, paths)) / rate(me)
    step = rate(me) / (me.rtt * sum(map(rate, paths)) ** 2) * (1 + ratio) / 2 * (4 + ratio) / 5
    return step, Fraction(me.window, 2) * min(ratio, Fraction(3, 2))


def assert_close(found: str, wanted: Fraction) -> None:
    difference = abs(int(found) - wanted * PACKET)
    assert difference <= ABSOLUTE + abs(wanted) * PACKET * RELATIVE, (int(found), float(wanted))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(paths=GROUPS)
def test_steps_are_those_of_the_papers(program: Path, paths: list[Subflow]) -> None:
    """Windows to 2^20, round trips from 1 us to 60 s, up to nine subflows."""
    found_lia, found_olia, found_balia, _, ssthresh = ask(program, paths)
    step, cut = balia(paths)
    assert_close(found_lia, lia(paths))
    assert_close(found_olia, olia(paths))
    assert_close(found_balia, step)
    assert abs(int(ssthresh) - max(Fraction(1), paths[0].window - cut)) <= 1 + cut * RELATIVE


@pytest.mark.parametrize("asked", [0, 64])
def test_the_extremes_do_not_overflow(program: Path, asked: int) -> None:
    """As many subflows as MPTCP allows, with the largest windows and the most unequal paths."""
    wide = [Subflow(2**32 - 1, 8, 2**63)] * 64
    for rtt in (8, 480_000_000, 2**32 - 1):
        for window in (1, 2**32 - 1):
            assert len(ask(program, [*wide, Subflow(window, rtt, 0)], asked)) == 5


def test_equal_paths_take_together_what_one_connection_takes(program: Path) -> None:
    """Two windows of w grow by half a packet per round trip, and lose a quarter of 2w."""
    lia_step, olia_step, balia_step, *thresholds = ask(program, [Subflow(50, 800_000, 1000)] * 2)
    for step in (lia_step, olia_step, balia_step):
        assert_close(step, Fraction(1, 4 * 50))
    assert thresholds == ["25", "25"]


@pytest.mark.parametrize("state", ["b", "s", "c"])
def test_who_does_not_take_part_changes_nothing(program: Path, state: str) -> None:
    """An idle backup, a stale or a closing sibling; alone, all three are Reno."""
    active = [Subflow(20, 80_000, 5000), Subflow(30, 160_000, 9000)]
    silent = Subflow(1000, 8, 2**40, state)
    assert ask(program, [*active, silent]) == ask(program, active)
    assert ask(program, [active[0], silent]) == ["r", "r", "r", "10", "10"]


def test_a_path_that_is_not_the_only_one_can_go_down_to_one_packet(program: Path) -> None:
    assert ask(program, [Subflow(2, 80_000, 10), Subflow(60, 80_000, 10)])[3:] == ["1", "1"]
    assert ask(program, [Subflow(2, 80_000, 10)])[3:] == ["2", "2"]
