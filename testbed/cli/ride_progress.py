# SPDX-License-Identifier: Apache-2.0
"""The progress of a run: the virtual clock, and how much faster it is than the real one."""

import sys
import time
from typing import Any, Self

import click

STAGES = {
    "prepare": "building the network",
    "start": "starting captures, the web server and Squid",
    "stop": "writing results",
}

# Without a terminal, one line in so many seconds is enough.
PLAIN_STEP_S = 5.0


class RideProgress:
    """Shows where a run is, on standard error.

    Args:
        duration_s: the longest it can take, in virtual time.
        quiet: show nothing.
    """

    def __init__(self, duration_s: float, *, quiet: bool) -> None:
        self._duration_s = duration_s
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._measuring_since: float | None = None
        self._shown = -PLAIN_STEP_S
        self._width = 0

    def update(self, event: dict[str, Any]) -> None:
        """Show one report of the runner."""
        if self._quiet or event["stage"] == "failed":
            return
        if event["stage"] == "measure":
            self._show_clock(event["t_s"])
        else:
            self._show(STAGES[event["stage"]])

    def _show_clock(self, t_s: float) -> None:
        now = time.monotonic()
        if self._measuring_since is None:
            self._measuring_since = now
        wall_s = now - self._measuring_since
        speed = f", {t_s / wall_s:.0f} times real time" if wall_s > 0.5 else ""
        text = f"riding: {t_s:5.0f} of at most {self._duration_s:.0f} s{speed}"
        if self._is_terminal or now - self._shown >= PLAIN_STEP_S:
            self._shown = now
            self._show(text)

    def _show(self, text: str) -> None:
        if self._is_terminal:
            click.echo("\r" + text.ljust(self._width), nl=False, err=True)
            self._width = len(text)
        else:
            click.echo(text, err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_terminal and self._width:
            click.echo(err=True)
