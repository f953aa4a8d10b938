# SPDX-License-Identifier: Apache-2.0
"""`testbed report`: tables, figures, verdicts and the page once more, from the raw data."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from testbed.cli.expectations import described, expectations, print_expectations
from testbed.cli.printing import printable
from testbed.cli.progress import show_progress
from testbed.errors import SpecError

MANIFEST = "manifest.json"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def report(directory: Path, as_json: bool) -> None:
    """Analyse the runs in DIRECTORY again and write their figures, tables and report.html.

    DIRECTORY is a results directory, a run directory or a folder of results. Raw data are only
    read; everything else is made again from them.

    Example: testbed report results/offload
    """
    from analysis.overview import write_overview
    from analysis.runs import read_results, results_dir_of

    found, pages, outcomes = [], [], []
    for place in _places(directory):
        with _progress(len(_manifests(place))) as progress:
            page = write_overview(place, rebuild=True, report=progress)
        pages.append(str(page))
        for record in read_results(place).records:
            found.append({"run_dir": str(record.directory), **record.outcome()})
            if not as_json:
                click.echo(printable(f"{record.level or record.status:8} {record.directory}"))
        outcomes += (mine := expectations(place))
        if not as_json:
            print_expectations(mine)
            click.echo(f"report:  {page}")
    if (directory / "run.json").exists() and (whole := results_dir_of(directory)):
        pages.append(str(write_overview(whole)))  # its numbers are those of this run too
    if as_json:
        click.echo(json.dumps({"runs": found, "reports": pages, **described(outcomes)}))
    is_missed = any(outcome.is_missed for outcome in outcomes)
    sys.exit(int(is_missed or any(run["verdict"] != "valid" for run in found)))


def _places(directory: Path) -> list[Path]:
    """Return the results directories in a folder, or the run directory that it is."""
    from analysis.runs import results_dir_of

    manifests = _manifests(directory)
    if not manifests:
        raise SpecError(f"{directory} holds no finished run: there is no manifest.json in it")
    if (directory / "plan.json").exists() or (directory / "manifest.json").exists():
        return [directory]
    return list(dict.fromkeys(results_dir_of(m.parent) or m.parent for m in manifests))


def _manifests(directory: Path) -> list[Path]:
    """Return the manifests below a folder; a folder that cannot be read, or vanishes, has none."""
    return sorted(
        Path(place) / MANIFEST for place, _, names in os.walk(directory) if MANIFEST in names
    )


@contextmanager
def _progress(runs: int) -> Iterator[Callable[[str, float | None], None]]:
    """Show progress on a terminal, and elsewhere if there is more than one run to wait for."""
    if runs > 1 or sys.stderr.isatty():
        with show_progress() as report:
            yield report
    else:
        yield lambda stage, fraction: None
