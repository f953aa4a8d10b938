# SPDX-License-Identifier: Apache-2.0
"""Options that mean the same in every command that carries out runs."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from testbed.errors import SpecError


class BackendName(click.ParamType[str]):
    """Where to carry runs out: lab, host, ssh:USER@HOST[:PORT] or vagrant."""

    name = "name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the name, if there is such a backend."""
        from testbed.backends import check_backend

        try:
            return check_backend(str(value))
        except SpecError as error:
            self.fail(str(error), param, ctx)


BACKEND = BackendName()


@dataclass(frozen=True)
class RunOptions:
    """What the shared options say.

    Attributes:
        seed: of the first repetition; None: the experiment's.
        repetitions: of each cell; None: the experiment's.
        out: folder for results.
        backend: name of the backend.
        jobs: runs at once.
        as_json: print one JSON object and nothing else.
        is_dry: only print what would be built and run.
        overrides: values by dotted key, from --set, --seed and --seeds.
    """

    seed: int | None
    repetitions: int | None
    out: Path
    backend: str
    jobs: int
    as_json: bool
    is_dry: bool
    overrides: dict[str, Any]


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options; the command gets them as one RunOptions, `options`."""

    def gather(
        *arguments: Any,
        seed: int | None,
        repetitions: int | None,
        out: Path,
        backend: str,
        jobs: int,
        as_json: bool,
        dry_run: bool,
        settings: tuple[str, ...],
        **others: Any,
    ) -> Any:
        given = {"seed": seed, "repetitions": repetitions}
        overrides = dict(parse_setting(text) for text in settings)
        overrides |= {key: value for key, value in given.items() if value is not None}
        options = RunOptions(seed, repetitions, out, backend, jobs, as_json, dry_run, overrides)
        return command(*arguments, options=options, **others)

    gather.__name__, gather.__doc__ = command.__name__, command.__doc__
    wrapped: Callable[..., Any] = gather
    if hasattr(command, "__click_params__"):
        wrapped.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped


OPTIONS = (
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63),
        help="Governs everything random; the n-th repetition has SEED + n - 1.",
    ),
    click.option(
        "--seeds",
        "--repetitions",
        "repetitions",
        type=click.IntRange(1, 10_000),
        help="How many seeds to run of each cell.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replace a value of the experiment, such as links.3g.queue='200 ms'. May be repeated.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("results"),
        show_default=True,
        help="Folder for the results.",
    ),
    click.option(
        "--backend",
        type=BACKEND,
        default="lab",
        show_default=True,
        help="Where to run: lab, host (this machine's own kernel), ssh:USER@HOST[:PORT], or "
        "vagrant (a virtual machine).",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=lambda: len(os.sched_getaffinity(0)),
        show_default="one per core",
        help="How many runs at once; in real time it is always one.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."),
    click.option("--dry-run", is_flag=True, help="Print what would be built and run."),
)


def parse_setting(text: str) -> tuple[str, Any]:
    """Return key and value of "key=value"; the value is read as YAML.

    Raises:
        SpecError: it has no key, or the value is no YAML.
    """
    from testbed.spec.document import read_value

    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise SpecError(f'--set: "{text}" is not KEY=VALUE, such as duration="30 s"')
    return key.strip(), read_value(value, f'--set: the value of "{key.strip()}"')


class Several(click.ParamType[list[str]]):
    """Values that may be repeated or be separated by commas."""

    name = "name[,name...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the parts, without blanks around them."""
        if isinstance(value, list):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(parts):
            self.fail(f'"{value}" has an empty part', param, ctx)
        return parts


SEVERAL = Several()


def flatten(values: tuple[list[str], ...]) -> list[str]:
    """Return the parts of all occurrences of an option, each once, in their order."""
    return list(dict.fromkeys(part for value in values for part in value))
