# SPDX-License-Identifier: Apache-2.0
"""`testbed compare-backends`: one experiment on two backends, and by how much they differ."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.execute import (
    bring_up,
    carry_out_all,
    open_backend,
    open_results,
    run_path,
    write_page,
)
from testbed.cli.options import RunOptions, run_options
from testbed.errors import SpecError
from testbed.plan import PlannedRun
from testbed.spec.load import Experiment

if TYPE_CHECKING:
    from analysis.compare import Difference
    from testbed.backends.base import Backend

STEM = "comparison"
# Beyond this a number is written out, without decimals: bytes.
MANY = 10_000


@click.command("compare-backends")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--backends",
    required=True,
    metavar="FIRST,SECOND",
    help="The two backends, such as lab,ssh:root@192.0.2.1.",
)
@run_options
def compare_backends(file: Path, backends: str, options: RunOptions) -> None:
    """Carry out the experiment in FILE on two backends and compare every number.

    Both get the same runs, and runs with the same seed are compared as a pair; an interval takes
    several of them (--seeds). --backend is not used.

    Example: testbed compare-backends experiments/offload.yaml --backends lab,host --seeds 5
    """
    from testbed.plan import plan_experiment
    from testbed.spec.load import load_experiment

    names = _two(backends)
    experiment = load_experiment(file, options.overrides)
    runs = plan_experiment(experiment, options.seed, options.repetitions)
    if options.is_dry:
        click.echo(f"{len(runs)} runs on {names[0]} and the same on {names[1]}")
        return
    opened = [(name, open_backend(name)) for name in names]
    for _, backend in opened:
        bring_up(backend, quiet=options.as_json)  # both, before the first run
    places = [
        _carry_out(experiment, runs, replace(options, backend=name), backend)
        for name, backend in opened
    ]
    _report(names, places, options)


def _two(text: str) -> tuple[str, str]:
    """Return the two names.

    Raises:
        SpecError: there are not two, or one is no backend.
    """
    from testbed.backends import check_backend

    names = [check_backend(part.strip()) for part in text.split(",")]
    if len(names) != 2 or names[0] == names[1]:
        raise SpecError(f'--backends: "{text}" is not two backends, such as lab,host')
    return names[0], names[1]


def _carry_out(
    experiment: Experiment, runs: Sequence[PlannedRun], options: RunOptions, backend: "Backend"
) -> Path:
    results = open_results(experiment, runs, options)
    carry_out_all(results, [run_path(run) for run in runs], options, backend)
    write_page(results, quiet=options.as_json)
    return results


def _report(names: tuple[str, str], places: Sequence[Path], options: RunOptions) -> None:
    """Write comparison.json and the figure beside the second results, print, and exit."""
    from analysis.compare import CONFIDENCE, as_records, compare, comparison_figure
    from analysis.files import write_figure, write_json
    from analysis.runs import read_results

    first, second = (read_results(place) for place in places)
    found = compare(first, second)
    counts = [_counts(results.table["verdict"]) for results in (first, second)]
    record: dict[str, Any] = {
        "backends": list(names),
        "results_dirs": [str(place) for place in places],
        "verdicts": counts,
        "method": "paired Student's t",
        "confidence": CONFIDENCE,
        "differences": as_records(found),
    }
    stem = places[1] / STEM
    write_json(stem.with_suffix(".json"), record)
    notes = [f"{name}: {_say_counts(one)}." for name, one in zip(names, counts, strict=True)]
    figure = comparison_figure(found, names, notes)
    write_figure(stem, figure, "testbed compare-backends", f"inputs: {places[0]}, {places[1]}")
    if options.as_json:
        click.echo(json.dumps(record))
    else:
        _print(names, found)
        for line in notes:
            click.echo(line)
        click.echo(f"comparison: {stem}.json, {stem}.png")
    sys.exit(0 if first.is_valid and second.is_valid else 1)


def _counts(verdicts: Any) -> dict[str, int]:
    return {level: int((verdicts == level).sum()) for level in ("valid", "suspect", "invalid")}


def _say_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {level}" for level, count in counts.items())


def _print(names: tuple[str, str], found: "Sequence[Difference]") -> None:
    # Imported here: --json needs no rich.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from analysis.compare import CONFIDENCE

    console = Console()
    for cell in dict.fromkeys(one.cell for one in found):
        table = Table(box=None, pad_edge=False, title=escape(cell) or None, title_justify="left")
        table.add_column("number", no_wrap=True)
        for head in (*map(escape, names), "difference", "", f"± ({CONFIDENCE:.0%})", "pairs"):
            table.add_column(head, justify="right")
        for one in found:
            if one.cell == cell:
                table.add_row(one.metric, *_columns(one))
        console.print(table)


def _columns(one: "Difference") -> list[str]:
    means = [_number(value) for value in (one.first, one.second, one.difference)]
    relative = "" if one.relative is None else f"{one.relative:+.1%}"
    reach = None if one.low is None or one.high is None else (one.high - one.low) / 2
    return [*means, relative, _number(reach), str(one.pairs)]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= MANY else f"{value:.4g}"
