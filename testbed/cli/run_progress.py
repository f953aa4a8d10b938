# SPDX-License-Identifier: Apache-2.0
"""Shows where each run is: its virtual clock, and how much faster it is than the real one."""

import sys
import threading
import time
from contextlib import ExitStack
from typing import Any, Self

import click

from testbed.cli.printing import printable

STAGES = {
    "prepare": "building the network",
    "start": "starting captures and servers",
    "stop": "writing raw data",
    "judge": "analysing",
}

# Without a terminal, one line per run in so many seconds is enough.
PLAIN_STEP_S = 5.0


class RunProgress:
    """Shows the state of several runs, on standard error.

    Args:
        runs: name and longest virtual time of each run, by its folder.
        quiet: show nothing.
    """

    def __init__(self, runs: dict[str, tuple[str, float]], *, quiet: bool) -> None:
        self._runs = {
            folder: (printable(name), longest_s) for folder, (name, longest_s) in runs.items()
        }
        self._quiet = quiet
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._bars: _Bars | None = None
        self._stack = ExitStack()

    def update(self, folder: str, event: dict[str, Any]) -> None:
        """Show one report of a run's runner."""
        if self._quiet:
            return
        with self._lock:
            text = printable(self._text(folder, event))
            if self._bars is not None:
                self._bars.show(folder, text, event.get("t_s"))
            elif event["stage"] != "measure" or self._is_due(folder):
                click.echo(f"{self._runs[folder][0]}: {text}", err=True)

    def _is_due(self, folder: str) -> bool:
        now = time.monotonic()
        if now - self._shown.get(folder, -PLAIN_STEP_S) < PLAIN_STEP_S:
            return False
        self._shown[folder] = now
        return True

    def _text(self, folder: str, event: dict[str, Any]) -> str:
        stage = str(event["stage"])
        if stage == "end":
            return end_text(event["manifest"])
        if stage != "measure":
            return STAGES.get(stage, stage)
        now = time.monotonic()
        wall_s = now - self._since.setdefault(folder, now)
        speed = f", {_speed(event['t_s'], wall_s)}" if wall_s > 0.5 else ""
        return f"{event['t_s']:.0f} of at most {self._runs[folder][1]:.0f} s{speed}"

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            self._bars = self._stack.enter_context(_Bars(self._runs))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def end_text(manifest: dict[str, Any]) -> str:
    """Say in one line how a run ended."""
    if manifest["status"] != "complete":
        return f"{manifest['status']}: {manifest['error']}"
    summary = manifest.get("summary", {})
    speed = _speed(manifest["virtual_s"], manifest["wall_s"])
    goodput = summary.get("goodput_mbps")
    rate = f", {goodput:.2f} Mbit/s" if goodput is not None else ""
    reasons = summary.get("verdict_reasons") or []
    why = f": {reasons[0]}" if reasons else ""
    return (
        f"{summary.get('verdict', '?')}{rate}, {manifest['virtual_s']:.1f} s in "
        f"{manifest['wall_s']:.1f} s ({speed}){why}"
    )


def _speed(clock_s: float, wall_s: float) -> str:
    factor = clock_s / max(wall_s, 0.001)
    return f"{factor:.{0 if factor >= 10 else 1}f} times real time"


class _Bars:
    """One bar per run on a terminal; runs that wait are counted, not shown."""

    def __init__(self, runs: dict[str, tuple[str, float]]) -> None:
        # Imported here: rich takes longer to import than most commands take to run.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._runs = runs
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}
        self._ended = 0
        self._all = self._progress.add_task("all runs", total=len(runs), state=self._counted())

    def _counted(self) -> str:
        return f"{self._ended} of {len(self._runs)} runs"

    def show(self, folder: str, text: str, t_s: float | None) -> None:
        """Show the state of a run; one that has ended gets a line that stays."""
        name, duration_s = self._runs[folder]
        if folder not in self._tasks:
            self._tasks[folder] = self._progress.add_task(name, total=duration_s, state=text)
        self._progress.update(self._tasks[folder], state=text, completed=t_s or None)
        if text.split(":")[0].split(",")[0] in ("valid", "suspect", "invalid", "failed"):
            self._end(folder, name, text)

    def _end(self, folder: str, name: str, text: str) -> None:
        self._progress.remove_task(self._tasks.pop(folder))
        self._console.print(f"{name}: {text}", markup=False, highlight=False)
        self._ended += 1
        self._progress.update(self._all, completed=self._ended, state=self._counted())

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()
