# SPDX-License-Identifier: Apache-2.0
"""Shows how far a command of minutes is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

# Between two lines about the same stage in a log file.
LINE_EVERY_S = 15.0

Report = Callable[[str, float | None], None]


@contextmanager
def show_progress() -> Iterator[Report]:
    """Give a function that takes the name of a stage and the fraction of it that is done."""
    if sys.stderr.isatty():
        with _show_bar() as report:
            yield report
    else:
        yield Lines()


class Lines:
    """Progress for logs: a line when a stage begins, and one every LINE_EVERY_S."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = lambda line: click.echo(line, err=True),
    ) -> None:
        self._clock = clock
        self._write = write
        self._started_s = clock()
        self._stage = ""
        self._said_s = 0.0

    def __call__(self, stage: str, fraction: float | None) -> None:
        """Write a line if there is something new."""
        now_s = self._clock()
        if stage == self._stage and now_s - self._said_s < LINE_EVERY_S:
            return
        share = f" {fraction:.0%}" if fraction else ""
        minutes, seconds = divmod(int(now_s - self._started_s), 60)
        self._write(f"[{minutes}:{seconds:02}] {stage}{share}")
        self._stage, self._said_s = stage, now_s


@contextmanager
def _show_bar() -> Iterator[Report]:
    # Imported here: rich takes longer to import than most commands take to run.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        stages: dict[str, int] = {}

        def report(stage: str, fraction: float | None) -> None:
            if stage not in stages:
                for done in stages.values():
                    progress.update(progress.task_ids[done], total=1, completed=1)
                    progress.stop_task(progress.task_ids[done])
                stages[stage] = len(progress.task_ids)
                progress.add_task(stage, total=None)
            if fraction is not None:
                task = progress.task_ids[stages[stage]]
                progress.update(task, total=1, completed=fraction)

        yield report
        for task in progress.task_ids:
            progress.update(task, total=1, completed=1)
