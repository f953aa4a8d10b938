# SPDX-License-Identifier: Apache-2.0
"""`testbed analyze`: what was measured, as a table to read or to compute with."""

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.expectations import print_expectations
from testbed.cli.printing import printable
from testbed.errors import SpecError
from testbed.rundir import newest_results_dir

if TYPE_CHECKING:
    import pandas as pd

    from analysis.runs import Results

RUNS = "runs"
MAX_ROWS = 50  # that a person reads
UNITS = {"s": "s", "ms": "ms", "mbps": "Mbit/s", "bytes": "bytes", "packets": "packets"}
DIGITS = {"virtual_s": 1, "wall_s": 1, "download_s": 1, "goodput_mbps": 2, "handover_gap_max_s": 2}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--table", "name", default=RUNS, show_default=True, help="A derived table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--junit", "as_junit", is_flag=True, help="Print runs and expectations as JUnit XML.")
def analyze(directory: Path, name: str, as_json: bool, as_csv: bool, as_junit: bool) -> None:
    """Print the table of the runs in DIRECTORY, or a derived table of all of them together.

    DIRECTORY is a results directory, a run directory, or a folder of results, of which the newest
    is taken. Nothing is written; `testbed report` makes the derived tables.

    Example: testbed analyze results/offload --table handover_gaps --csv
    """
    if as_json + as_csv + as_junit > 1:
        raise SpecError("--json, --csv and --junit exclude each other; give one of them")
    from analysis.expectations import judge_expectations
    from analysis.junit import junit_text
    from analysis.runs import read_results

    results = read_results(_chosen(directory))
    outcomes = judge_expectations(results)
    parts = _parts(results, name)
    if as_json:
        _print_json(name, parts)
    elif as_csv:
        _print_csv(parts)
    elif as_junit:
        click.echo(junit_text(results, outcomes), nl=False)
    else:
        _print_table(results, name, parts)
        if name == RUNS:
            print_expectations(outcomes)
    sys.exit(int(not results.is_valid or any(outcome.is_missed for outcome in outcomes)))


def _chosen(directory: Path) -> Path:
    """Return the directory to read, and say which one it is if that was not said."""
    chosen = newest_results_dir(directory)
    if chosen != directory:
        click.echo(f"the newest in {directory} is {chosen.name}", err=True)
    return chosen


def _parts(results: "Results", name: str) -> "Iterator[pd.DataFrame]":
    """Return the rows of a table part by part, because tables of packets do not fit in memory.

    Raises:
        SpecError: no run has the table.
    """
    if name == RUNS:
        return iter([results.table])
    known = results.table_names()
    if name not in known:
        raise SpecError(_unknown(results.directory, name, known))
    return _rows_of_runs(results, name)


def _unknown(directory: Path, name: str, known: list[str]) -> str:
    if not known:
        return f"no run in {directory} has been analysed; run 'testbed report {directory}'"
    near = difflib.get_close_matches(name, [RUNS, *known], 1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return f'there is no table "{name}"{hint}; there are {", ".join([RUNS, *known])}'


def _rows_of_runs(results: "Results", name: str) -> "Iterator[pd.DataFrame]":
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    for record, path in results.files(name):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                rows = batch.to_pandas()
                varied = {key: value for key, value in record.varied.items() if key not in rows}
                for place, (key, value) in enumerate({"run_dir": record.name, **varied}.items()):
                    rows.insert(place, key, value)
                yield rows


def _print_json(name: str, parts: "Iterator[pd.DataFrame]") -> None:
    """Print {"table": NAME, "rows": [...]}, a row at a time; what is missing is null."""
    click.echo(f'{{"table": {json.dumps(name)}, "rows": [', nl=False)
    separator = "\n"
    for part in parts:
        text = part.to_json(orient="records", lines=True, double_precision=15)
        for line in text.splitlines():
            click.echo(separator + line, nl=False)
            separator = ",\n"
    click.echo("\n]}")


def _print_csv(parts: "Iterator[pd.DataFrame]") -> None:
    """Print the columns' names once and then the rows."""
    for number, part in enumerate(parts):
        if "verdict_reasons" in part:
            part = part.assign(verdict_reasons=part["verdict_reasons"].map("; ".join))
        click.echo(part.to_csv(index=False, header=number == 0, lineterminator="\n"), nl=False)


def _print_table(results: "Results", name: str, parts: "Iterator[pd.DataFrame]") -> None:
    """Print the first rows for a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows: list[dict[Any, Any]] = []
    columns: list[str] = []
    total = 0
    for part in parts:
        columns = columns or _columns(part, name)
        rows += part.head(MAX_ROWS - len(rows)).to_dict("records")
        total += len(part)
    # Who reads through a pipe has no width of their own.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 400)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for column in columns:
        is_number = any(_is_number(row[column]) for row in rows)
        table.add_column(printable(_heading(column)), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(printable(_text(column, row.get(column))) for column in columns))
    console.print(table)
    if total > len(rows):
        click.echo(f"the first {len(rows)} of {total} rows; --csv and --json print all", err=True)
    if name == RUNS:
        _print_reasons(results)


def _columns(part: "pd.DataFrame", name: str) -> list[str]:
    """Return the columns that a person wants to see."""
    hidden = {"run_id"} if name != RUNS else {"backend", "verdict_reasons", "virtual_s"}
    if name == RUNS and part["mode"].isna().all():
        hidden.add("mode")
    if len(part) > 1 and name == RUNS:
        hidden.add("run_dir")  # the others say which run it is
    return [str(column) for column in part if column not in hidden]


def _heading(column: str) -> str:
    """Return a column's name with its unit in a line of its own."""
    if column.startswith("bytes_"):
        return f"{column.removeprefix('bytes_')}\nMB"
    name, _, unit = column.rpartition("_")
    if unit in UNITS and name:
        return f"{name.replace('_', ' ')}\n{UNITS[unit]}"
    return column.replace("_", " ")


def _print_reasons(results: "Results") -> None:
    """Print below the table why runs are not valid: a sentence is too long for a column."""
    for record in results.records:
        for reason in record.reasons:
            click.echo(printable(f"{record.name}: {record.level or record.status}: {reason}"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(column: str, value: Any) -> str:
    """Return a value for a person: rounded, bytes in MB, and "-" for what is missing."""
    import pandas as pd

    if not isinstance(value, list) and pd.isna(value):
        return "-"
    if column in DIGITS:
        return f"{value:.{DIGITS[column]}f}"
    if column.startswith("bytes_"):
        return f"{value / 1e6:.2f}"
    if column == "run_dir":
        return str(value).removeprefix("runs/")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
