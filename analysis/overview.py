# SPDX-License-Identifier: Apache-2.0
"""Write what follows from all runs of an experiment: tables, figures and one page to read."""

import contextlib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import (
    curves,
    datacenter_figures,
    fairness_figures,
    interference_figures,
    middlebox_figures,
    migration_figures,
    per_cell,
    progress,
    timelines,
    wifi_figures,
)
from analysis.answer import cell_table
from analysis.datacenter import is_datacenter
from analysis.files import replace_directory, working_directory, write_figure, write_table
from analysis.metrics import Gap, stalls
from analysis.page import Picture, page_html
from analysis.report import code_hash, write_report
from analysis.runs import Results, read_results
from analysis.sweep import Sweep, sweep_of
from testbed.errors import RunInvalid
from testbed.rundir import write_atomically

Progress = Callable[[str, float | None], None]
GATHERED = (
    "bytes_per_path",
    "handover_gaps",
    "flows",
    "link_use",
    "fair_flows",
    "path_rates",
)  # tables that are kept for all runs together
CAPTIONS = {
    "progress": "Download progress: how much the application had at each time.",
    "timelines": "Throughput on each interface, stacked, one run of each cell in equal axes.",
    "goodput": "Goodput of each cell: application bytes per download time.",
    "handover_gaps": "Handover gaps: the longest times without goodput around changes of coverage.",
    "bytes_per_path": "Which path brought how much of the application's bytes.",
    **datacenter_figures.CAPTIONS,
    **fairness_figures.CAPTIONS,
    "transfers": "What client and machine read during the migration, one run of each cell.",
    "migration_times": "How long the client got nothing, and how long the migration took.",
    "round_trips": "Round trip between machine and client before and after the move.",
    "interference": "What becomes of MPTCP past an interfering middlebox, one row per behaviour.",
    "middleboxes": "What the middleboxes got to see of the connection, one run of each cell.",
    **wifi_figures.CAPTIONS,
    "application_latency": "Distribution of the latency of application blocks.",
}


def write_overview(
    results_dir: Path, *, rebuild: bool = False, report: Progress = lambda stage, fraction: None
) -> Path:
    """Write report.html, and derived/ next to it, of a results directory; return the page's path.

    Of a directory that holds one run, only report.html is written: its derived/ is the run's own.

    Args:
        results_dir: a results directory or a run directory.
        rebuild: whether to make the derived/ of every run again first, from its raw data.
        report: called with what is being done and how much of it is done.

    Raises:
        SpecError: there are no runs in it.
    """
    results = read_results(Path(results_dir))
    if rebuild:
        rebuild_runs(results, report)
        results = read_results(results.directory)
    report("drawing figures over all runs", None)
    sweep = sweep_of(results)
    code = f"mptcp-testbed {metadata.version('mptcp-testbed')}, analysis {code_hash()}"
    with working_directory(results.directory) as work:
        pictures = _write_figures(work, results, sweep, code)
        page = page_html(results, sweep, pictures, code)
        if not results.is_one_run:
            _write_tables(work, results, sweep, code)
            replace_directory(work, results.directory / "derived")
    target = results.directory / "report.html"
    write_atomically(target, page)
    return target


def rebuild_runs(results: Results, report: Progress) -> None:
    """Make the derived/ of every run that ended again; one that cannot be read is passed over."""
    ended = [record for record in results.records if record.manifest]
    for number, record in enumerate(ended):
        report(f"analysing run {number + 1} of {len(ended)}", number / len(ended))
        with contextlib.suppress(RunInvalid):  # its record says why
            write_report(record.directory)


def figures(results: Results, sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that there are data for, by the name of their file."""
    if any(is_datacenter(record.run) for record in results.records):
        yield from datacenter_figures.figures(results, sweep)
        return
    summaries = {record.name: record.summary for record in results.records}
    if any("behaviour" in summary for summary in summaries.values()):
        yield "interference", interference_figures.interference_figure(sweep, summaries)
        return
    if "path_rates" in results.table_names():
        yield from fairness_figures.figures(sweep)
        return
    if "transfers" in results.table_names():
        yield from _migration_figures(results, sweep)
        return
    yield from wifi_figures.figures(results, sweep)
    goodput, throughput = results.gather("goodput"), results.gather("throughput")
    gaps = results.gather("handover_gaps")
    if len(goodput):
        yield "progress", progress.progress_figure(sweep, goodput)
    if len(throughput):
        yield "timelines", timelines.timelines_figure(sweep, throughput, stalls_of(results, sweep))
    if sweep.runs["goodput_mbps"].notna().any():
        yield "goodput", per_cell.goodput_figure(sweep)
    if len(gaps):
        yield "handover_gaps", per_cell.handover_gaps_figure(sweep, gaps)
    if any(f"bytes_{path}" in sweep.runs for path in sweep.facts.paths):
        yield "bytes_per_path", per_cell.bytes_per_path_figure(sweep)
    if "middlebox_bytes" in results.table_names():
        seen = results.gather("middlebox_bytes")
        yield "middleboxes", middlebox_figures.middlebox_figure(sweep, seen)
    if "blocks" in results.table_names():
        blocks = results.gather("blocks", columns=["latency_ms"])
        yield "application_latency", curves.latency_figure(sweep, blocks)


def _migration_figures(results: Results, sweep: Sweep) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a migration.

    Progress and gaps by the captures are not among them: what comes through a tunnel passes no
    interface that is captured, and a connection that died has no gap.
    """
    tables = (results.gather("transfers"), results.gather("precopy_rounds"))
    phases = {record.name: record.summary.get("phases") or {} for record in results.records}
    yield "transfers", migration_figures.transfers_figure(sweep, *tables, phases)
    yield "migration_times", migration_figures.times_figure(sweep)
    yield "round_trips", migration_figures.round_trip_figure(sweep)


def stalls_of(results: Results, sweep: Sweep) -> dict[str, list[Gap]]:
    """Return when the application got nothing, of the runs that stand for their cells."""
    wanted = {row["run_dir"] for _, row in timelines.examples(sweep)}
    return {
        record.name: stalls(pd.read_parquet(file, columns=["t_s"]).sort_values("t_s"))
        for record, file in results.files("delivered")
        if record.name in wanted
    }


def _write_figures(work: Path, results: Results, sweep: Sweep, code: str) -> list[Picture]:
    about = f"{results.experiment}; {len(results.records)} runs"
    found = []
    for name, figure in figures(results, sweep):
        write_figure(work / name, figure, code, about)
        caption = " ".join([CAPTIONS[name], f"{sweep.subtitle()}.", sweep.counts()])
        place = "not a file of its own" if results.is_one_run else f"derived/{name}.pdf"
        found.append(Picture(name, caption, place, (work / f"{name}.png").read_bytes()))
    return found


def _write_tables(work: Path, results: Results, sweep: Sweep, code: str) -> None:
    stamp: dict[str, Any] = {"code": code, "inputs": [record.name for record in results.records]}
    write_table(work / "runs.parquet", results.table, stamp)
    write_table(work / "cells.parquet", cell_table(sweep), stamp)
    for name in (name for name in GATHERED if name in results.table_names()):
        write_table(work / f"{name}.parquet", results.gather(name), stamp)
