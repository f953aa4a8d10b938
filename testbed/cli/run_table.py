# SPDX-License-Identifier: Apache-2.0
"""The table that a command ends with: a row per run, with the numbers of its kind of experiment."""

from collections.abc import Sequence
from typing import Any

from analysis.headlines import NOTHING, kind_of, shown, text_of
from testbed.cli.printing import printable

MOST_PATHS = 6  # that have a column each
COLUMN_GAP = 2

Summary = dict[str, Any]


def run_name(run: Summary) -> str:
    """Return what people call a run: its varied values and its seed."""
    values = [
        value if key == "mode" else f"{key.rpartition('.')[2]} {value}"
        for key, value in run["varied"].items()
    ]
    return ", ".join([*values, f"seed {run['seed']}"])


def table_of(
    runs: Sequence[Summary], *, has_paths: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Return the heads, units in a line of their own, and a row of texts per run.

    A column without any number is left out, and so are paths if there are many.

    Args:
        runs: what `--json` says of them.
        has_paths: whether there is room for what each path brought.
    """
    kind = kind_of({key for run in runs for key, value in run.items() if value is not None})
    columns = shown(kind, runs)
    paths = list(dict.fromkeys(path for run in runs for path in run.get("bytes_per_path") or {}))
    paths = paths if has_paths and kind.has_paths and len(paths) <= MOST_PATHS else []
    heads = ["run", "verdict"]
    heads += [f"{_two_lines(one.head)}\n{one.unit}" if one.unit else _two_lines(one.head)
              for one in columns]  # fmt: skip
    heads += [f"over {path}\nMB" for path in paths]
    rows = []
    for run in runs:
        sizes = run.get("bytes_per_path") or {}
        numbers = [text_of(one, run.get(one.key)) for one in columns]
        numbers += [f"{sizes[path] / 1e6:.1f}" if path in sizes else NOTHING for path in paths]
        rows.append([run_name(run), run["verdict"], *numbers])
    return heads, rows


def _two_lines(head: str) -> str:
    """Return a head with its last word in a line of its own: columns are narrow."""
    return "\n".join(head.rsplit(" ", 1))


def print_runs(runs: Sequence[Summary]) -> None:
    """Print the table and below it why runs are not valid, each reason once."""
    # Imported here: --json needs no rich.
    import click
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    heads, rows = table_of(runs)
    if _width(heads, rows) > console.width:
        heads, rows = table_of(runs, has_paths=False)
    table = Table(box=None, pad_edge=False)
    table.add_column(heads[0], overflow="fold")
    table.add_column(heads[1])
    for place, head in enumerate(heads[2:], 2):
        is_number = all(row[place] == NOTHING or row[place][:1].isdigit() for row in rows)
        table.add_column(head, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(escape(printable(text)) for text in row))
    console.print(table)
    for sentence, names in _sentences(runs).items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        click.echo(printable(f"{names[0]}{others}: {sentence}"))


def _width(heads: list[str], rows: list[list[str]]) -> int:
    """Return how many characters a line of the table takes."""
    widths = [
        max(
            len(line) for text in (head, *(row[place] for row in rows)) for line in text.split("\n")
        )
        for place, head in enumerate(heads)
    ]
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)


def _sentences(runs: Sequence[Summary]) -> dict[str, list[str]]:
    """Return what is to be said of runs, with the names of those that it is said of."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for sentence in [*run["verdict_reasons"], *run["notes"]]:
            found.setdefault(sentence, []).append(run_name(run))
    return found
