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
# What is left is said if it is longer.
SHORT_S = 60.0
LEAST_ENDED = 3  # the first ones do not tell the pace


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
        self._began = time.monotonic()
        self._ended = 0
        self._bars: _Bars | None = None
        self._stack = ExitStack()

    def update(self, folder: str, event: dict[str, Any]) -> None:
        """Show one report of a run's runner."""
        if self._quiet:
            return
        with self._lock:
            self._ended += event["stage"] == "end"
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
            left = count_text(self._ended, len(self._runs), time.monotonic() - self._began)
            return end_text(event["manifest"]) + left
        if stage != "measure":
            return STAGES.get(stage, stage)
        now = time.monotonic()
        wall_s = now - self._since.setdefault(folder, now)
        speed = f", {speed_text(event['t_s'] / wall_s)}" if wall_s > 0.5 else ""
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
    speed = manifest["virtual_s"] / max(manifest["wall_s"], 0.001)
    goodput = summary.get("goodput_mbps")
    rate = f", {goodput:.2f} Mbit/s" if goodput is not None else ""
    reasons = summary.get("verdict_reasons") or []
    why = f": {reasons[0]}" if reasons else ""
    return (
        f"{summary.get('verdict', '?')}{rate}, {manifest['virtual_s']:.1f} s in "
        f"{manifest['wall_s']:.1f} s ({speed_text(speed)}){why}"
    )


def speed_text(speed: float) -> str:
    """Say how many times faster than the real clock the virtual one is; slow ones exactly."""
    return f"{speed:.0f} times real time" if speed >= 2 else f"{speed:.1f} times real time"


def count_text(ended: int, total: int, wall_s: float) -> str:
    """Say how many runs have ended, and for how long the others will take at that pace."""
    if total == 1:
        return ""
    left_s = wall_s / ended * (total - ended)
    left = "" if left_s < SHORT_S or ended < LEAST_ENDED else f", about {left_s / 60:.0f} min left"
    return f"; {ended} of {total} runs{left}"


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
