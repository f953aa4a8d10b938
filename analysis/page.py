# SPDX-License-Identifier: Apache-2.0
"""Put the report page together: everything that a person wants to see, in one file.

The page holds its figures and its style and refers to nothing outside. Whatever users wrote is
escaped.
"""

import base64
import functools
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis import interference_answer
from analysis.answer import answer, cell_table
from analysis.expectations import MET, NOT_JUDGED, UNMET, judge_expectations
from analysis.headlines import GAP, ORDINARY, Kind, kind_of
from analysis.runs import Results, RunRecord
from analysis.style import path_style
from analysis.sweep import Facts, Sweep

TEMPLATES = Path(__file__).with_name("templates")
MAX_RUN_FIGURES = 60  # in the page; the others are named
NOTHING = "\u2013"
# How an expectation is shown: as a verdict is.
BADGES = {MET: "valid", UNMET: "invalid", NOT_JUDGED: "none"}


@dataclass(frozen=True)
class Picture:
    """A figure of the page: its name, what it shows, where its file is, and the PNG."""

    name: str
    caption: str
    place: str
    content: bytes

    @property
    def png(self) -> str:
        """Return the PNG for a data URI."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    name: str
    unit: str = ""
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page; all values are text."""

    columns: list[Column]
    rows: list[list[str]]


def page_html(results: Results, sweep: Sweep, pictures: list[Picture], code: str) -> str:
    """Return the page.

    Args:
        results: of the directory.
        sweep: the same runs, as figures need them.
        pictures: in the order in which they are shown.
        code: what made the page.
    """
    page = {
        "title": f"{results.experiment}: {sweep.facts.subject}".rstrip(": "),
        "question": sweep.facts.question,
        "subtitle": sweep.subtitle(),
        "answer": answer(sweep),
        "caveats": sweep.caveats(),
        "expectations": [
            (outcome.status, BADGES[outcome.status], outcome.sentence)
            for outcome in judge_expectations(results)
        ],
        "cells": cells_shown(sweep),
        "figures": pictures,
        "runs": _runs(results, sweep),
        "environment": environment(results),
        "sysctls": sysctls(results.records),
        "spec": _read_text(results.directory / "spec.yaml"),
        "command": _command(results),
        "resume_command": _resume_command(results),
        "report_command": shlex.join(["testbed", "report", str(results.directory)]),
        "code": code,
    }
    return str(_template().render(page=page))


@functools.cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def cells_shown(sweep: Sweep) -> Table:
    """Return the table of cells with rounded numbers."""
    if interference_answer.is_interference(sweep):
        columns = [Column(*heading) for heading in interference_answer.HEADINGS]
        return Table(columns, interference_answer.rows(sweep))
    known = {str(name) for name, values in sweep.runs.items() if values.notna().any()}
    if (kind := kind_of(known)) is not ORDINARY:
        return _cells_of_kind(sweep, kind, known)
    numbers = cell_table(sweep)
    columns = [
        Column("Cell"), Column("Runs", "valid of all", True),
        Column("Goodput", "Mbit/s", True), Column("Range", "Mbit/s", True),
        *([Column("Finished", "runs", True), Column("Finished in", "s", True)]
          if sweep.facts.is_sized else []),
        Column("Longest gap", "s", True),
        *(Column(f"Over {path_style(path).label}", "MB", True) for path in sweep.facts.paths),
        Column("Speed", "times real time", True),
    ]  # fmt: skip
    return Table(columns, [_cell(row, sweep.facts) for _, row in numbers.iterrows()])


def _cells_of_kind(sweep: Sweep, kind: Kind, known: set[str]) -> Table:
    """Return a row per cell with the numbers that its kind of experiment is for."""
    headlines = [one for one in kind.headlines if one.key in known]
    paths = sweep.facts.paths if kind.has_paths else ()
    columns = [
        Column("Cell"), Column("Runs", "valid of all", True),
        *(Column(one.head[0].upper() + one.head[1:], one.unit, True) for one in headlines),
        *(Column(f"Over {path_style(path).label}", "MB", True) for path in paths),
    ]  # fmt: skip
    rows = []
    for (_, row), cell in zip(cell_table(sweep).iterrows(), sweep.cells, strict=True):
        # The longest gap is that of all runs.
        numbers = [row[one.key] if one is GAP else cell.median(one.key) for one in headlines]
        rows.append([
            str(row["cell"]), f"{row['valid']} of {row['runs']}",
            *(_number(value * one.factor, one.digits)
              for one, value in zip(headlines, numbers, strict=True)),
            *(_number(row[f"bytes_{path}"] / 1e6) for path in paths),
        ])  # fmt: skip
    return Table(columns, rows)


def _cell(row: "pd.Series[Any]", facts: Facts) -> list[str]:
    low, high = _number(row["goodput_min_mbps"]), _number(row["goodput_max_mbps"])
    return [
        str(row["cell"]),
        f"{row['valid']} of {row['runs']}",
        _number(row["goodput_mbps"]),
        low if low == high else f"{low}\u2013{high}",
        *([str(row["finished"]), _number(row["download_s"], 1)] if facts.is_sized else []),
        _number(row["handover_gap_max_s"]),
        *(_number(row[f"bytes_{path}"] / 1e6) for path in facts.paths),
        _number(row["times_real_time"], 1),
    ]


def _runs(results: Results, sweep: Sweep) -> list[dict[str, Any]]:
    """Return what is shown of each run."""
    rows, left = [], MAX_RUN_FIGURES
    for record in results.records:
        figure = record.directory / "derived" / "throughput.png"
        content = figure.read_bytes() if figure.is_file() and left > 0 else b""
        left -= 1 if content else 0
        rows.append({
            "name": _run_name(record, sweep),
            "directory": record.name,
            "level": record.level or "none",
            "badge": record.level if record.status == "complete" else record.status,
            "facts": _run_facts(record),
            "reasons": _reasons(record),
            "has_figure": figure.is_file(),
            "png": base64.b64encode(content).decode(),
        })  # fmt: skip
    return rows


def _run_name(record: RunRecord, sweep: Sweep) -> str:
    row = record.row()
    parts = [sweep.cell_of(record.name).label or record.name]
    parts += [f"no. {row['repetition']}"] if row["repetition"] is not None else []
    parts += [f"seed {row['seed']}"] if row["seed"] is not None else []
    return ", ".join(parts)


def _run_facts(record: RunRecord) -> str:
    summary = record.summary
    parts = [
        f"{_number(summary[name], digits)} {unit}"
        for name, digits, unit in (("goodput_mbps", 2, "Mbit/s"), ("download_s", 1, "s"))
        if summary.get(name) is not None
    ]
    return ", ".join(parts)


def _reasons(record: RunRecord) -> list[dict[str, Any]]:
    """Return why a run is not valid, with the numbers that say so."""
    evidence = {
        str(reason.get("message")): sorted((reason.get("evidence") or {}).items())
        for reason in record.verdict.get("reasons") or []
    }
    return [{"message": text, "evidence": evidence.get(text, [])} for text in record.reasons]


def environment(results: Results) -> Table:
    """Return what the runs ran on; where runs differ, every value and how many have it."""
    facts: dict[str, list[str]] = {}
    for record in results.records:
        for name, value in _run_environment(record.manifest):
            facts.setdefault(name, []).append(value)
    rows = []
    for name, values in facts.items():
        counts = pd.Series(values).value_counts()
        texts = [f"{value} ({count} runs)" for value, count in counts.items()]
        rows.append([name, values[0] if len(counts) == 1 else "; ".join(texts)])
    return Table([Column("What"), Column("Value")], rows)


def _run_environment(manifest: dict[str, Any]) -> Iterable[tuple[str, str]]:
    kernel, host = manifest.get("kernel") or {}, manifest.get("host") or {}
    yield from ((f"kernel {name.replace('_', ' ')}", str(kernel[name])) for name in sorted(kernel))
    for name in ("backend", "testbed"):
        if manifest.get(name):
            yield name, str(manifest[name])
    yield from ((f"host {name.replace('_', ' ')}", str(host[name])) for name in sorted(host))
    tools = manifest.get("tools") or {}
    yield from ((name, str(tools[name]).split(" OpenSSL/")[0]) for name in sorted(tools))


def sysctls(records: Iterable[RunRecord]) -> Table:
    """Return the kernel settings, one row per value, with the nodes that have it."""
    found: dict[tuple[str, str], set[str]] = {}
    nodes: set[str] = set()
    for record in records:
        for node, settings in (record.manifest.get("sysctls") or {}).items():
            nodes.add(node)
            for key, value in settings.items():
                found.setdefault((key, " ".join(str(value).split())), set()).add(node)
    rows = [
        [key, value, "all nodes" if have == nodes else ", ".join(sorted(have))]
        for (key, value), have in sorted(found.items())
    ]
    return Table([Column("Setting"), Column("Value"), Column("Nodes")], rows)


def _command(results: Results) -> str:
    """Return the command that carries out the experiment once more, "" if none is known."""
    said = results.plan.get("command")
    if said:
        return said if isinstance(said, str) else shlex.join(map(str, said))
    spec = results.directory / "spec.yaml"
    seeds = results.table["repetition"].max()
    more = [] if pd.isna(seeds) or seeds < 2 else ["--seeds", str(seeds)]
    return shlex.join(["testbed", "run", str(spec), *more]) if spec.is_file() else ""


def _resume_command(results: Results) -> str:
    """Return the command that carries out the runs that are not complete, "" if all are."""
    is_over = all(record.status == "complete" for record in results.records)
    return "" if is_over else shlex.join(["testbed", "resume", str(results.directory)])


def _number(value: Any, digits: int = 2) -> str:
    return NOTHING if value is None or pd.isna(value) else f"{value:.{digits}f}"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
