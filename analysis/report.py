# SPDX-License-Identifier: Apache-2.0
"""Write what follows from a run next to it; only this, `load` and `files` touch files.

Everything is made in a new directory that replaces derived/ at the end: a report is complete or it
is not there. Nothing in derived/ is the only copy of anything.
"""

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from analysis import (
    datacenter,
    datacenter_figures,
    fairness,
    interference,
    interference_run,
    metrics,
    middlebox,
    migration,
    plots,
    ride,
    wifi,
    wording,
)
from analysis.columns import slices
from analysis.files import replace_directory, working_directory, write_figure, write_json
from analysis.load import CHUNK_PACKETS, RunDirectory
from analysis.packets import PACKET_SCHEMA
from analysis.tables import Frames
from analysis.verdict import Verdict, judge_frames

GROUP_ROWS = 1 << 20  # of a Parquet file: rows in memory at once


@dataclass(frozen=True)
class Report:
    """What write_report made.

    Attributes:
        directory: the run's derived/.
        verdict: the judgement, as in verdict.json.
        summary: the numbers of the run, as in summary.json.
    """

    directory: Path
    verdict: Verdict
    summary: dict[str, Any]


def write_report(run_dir: Path, chunk_packets: int = CHUNK_PACKETS) -> Report:
    """Write tables, figures, verdict and summary of a run to its derived/ directory.

    Args:
        run_dir: a run directory; raw/, run.json and manifest.json are only read.
        chunk_packets: how many packets to work on at once. The results do not depend on it.

    Raises:
        RunInvalid: run.json or manifest.json cannot be read.
    """
    run_dir = Path(run_dir)
    directory = RunDirectory(run_dir, chunk_packets)
    frames = directory.load()
    results = measure(frames)
    verdict = judge_frames(frames)
    summary = summarise(frames, results, verdict)
    stamp = provenance(frames)
    with working_directory(run_dir) as work:
        packets = directory.packet_tables(frames.subflows)
        _write_table(work / "packets.parquet", packets, PACKET_SCHEMA, stamp)
        for name, table in results.items():
            _write_frame(work / f"{name}.parquet", table, stamp)
        write_json(work / "verdict.json", {**verdict.as_dict(), **stamp})
        write_json(work / "summary.json", {**summary, **stamp})
        figure = _figure(frames, results, verdict)
        about = f"run {stamp['run_id']}; inputs: {', '.join(stamp['inputs'])}"
        write_figure(work / "throughput", figure, stamp["code"], about)
        replace_directory(work, run_dir / "derived")
    return Report(run_dir / "derived", verdict, summary)


def _figure(frames: Frames, results: dict[str, pd.DataFrame], verdict: Verdict) -> Figure:
    if datacenter.is_datacenter(frames.run):
        return datacenter_figures.run_figure(frames, results["flows"], verdict.warning)
    if interference.is_interference(frames):
        return interference_run.run_figure(frames, verdict.warning)
    return plots.throughput_figure(frames, warning=verdict.warning)


def measure(frames: Frames) -> dict[str, pd.DataFrame]:
    """Return every table of the report but that of packets, by the name of its file."""
    if datacenter.is_datacenter(frames.run):
        return datacenter.tables(frames)
    end_s = metrics.run_end_s(frames)
    blocks = {} if frames.blocks is None else {"blocks": frames.blocks}
    return {
        **blocks,
        **_migration_tables(frames, end_s),
        **fairness.tables(frames),
        "events": frames.events,
        "subflows": frames.subflows,
        "sockets": frames.sockets,
        "connections": frames.connections,
        "counters": frames.counters,
        "links": frames.links,
        "link_samples": frames.link_samples,
        "mptcp_events": frames.mptcp_events,
        "captures": frames.captures,
        "data": frames.data,
        "delivered": frames.delivered,
        "throughput": metrics.throughput(frames.traffic, end_s),
        "goodput": metrics.goodput(frames.delivered, end_s),
        "bytes_per_path": metrics.bytes_per_path(frames),
        "handover_gaps": metrics.handover_gaps(
            frames.data, frames.delivered, ride.coverages(frames.run)
        ),
        "coverage_use": metrics.coverage_use(frames.data, ride.coverages(frames.run), end_s),
        "round_trip_times": metrics.round_trip_times(frames.sockets),
        "retransmissions": metrics.retransmissions(frames.sockets),
        **wifi.tables(frames, end_s),
    }


def _migration_tables(frames: Frames, end_s: float) -> dict[str, pd.DataFrame]:
    if middlebox.is_middlebox_run(frames):
        return {"middlebox_bytes": middlebox.bytes_over_time(frames)}
    if not migration.is_migration(frames):
        return {}
    return {
        "transfers": migration.transfers(frames, end_s),
        "precopy_rounds": migration.rounds(frames),
    }


def summarise(frames: Frames, results: dict[str, pd.DataFrame], verdict: Verdict) -> dict[str, Any]:
    """Return the run in a few numbers.

    goodput_mbps is application bytes per download time, steady_goodput_mbps that without the first
    quarter of the time; download_s is None where there was no download or it did not end by itself;
    handover_gap_max_s is the longest time without goodput around a change of coverage, or in the
    whole run if there was none. Retransmitted bytes are TCP's, at all sampled hosts; reinjected
    ones are those that MPTCP sent again though they had arrived.
    """
    if datacenter.is_datacenter(frames.run):
        found = datacenter.summary(frames, results["flows"], results["link_use"])
        return {**found, **_ending(frames, verdict)}
    workload = frames.manifest.get("workload") or {}
    first_s, last_s = metrics.download_span(frames)
    seconds, size = last_s - first_s, int(frames.delivered["bytes"].sum())
    is_download = (frames.run.get("workload") or {}).get("name", "download") == "download"
    has_ended = is_download and workload.get("exit_status") == 0
    gaps = results["handover_gaps"]
    changes = gaps[gaps["change"] != "overall"]
    gap_s = (changes if len(changes) else gaps)["gap_delivered_s"].max()
    per_path = results["bytes_per_path"].set_index("path")
    sent_again = results["retransmissions"]["retransmitted_bytes"].sum()
    return {
        "goodput_mbps": size * 8 / seconds / 1e6 if seconds > 0 else 0.0,
        "steady_goodput_mbps": metrics.steady_goodput_mbps(frames.delivered, first_s, last_s),
        "download_s": seconds if has_ended else None,
        "handover_gap_max_s": None if pd.isna(gap_s) else float(gap_s),
        "bytes_per_path": {str(path): int(n) for path, n in per_path["new_bytes"].items()},
        "retransmitted_bytes": int(sent_again),
        "reinjected_bytes": int(per_path["reinjected_bytes"].sum()),
        "notes": _notes(frames),
        **_ending(frames, verdict),
    }


def _notes(frames: Frames) -> list[str]:
    workload = frames.manifest.get("workload") or {}
    tool = [f"the workload used {workload['tool']}"] if "tool" in workload else []
    return tool + wording.coupling_notes(frames.run, frames.manifest)


def _ending(frames: Frames, verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.status,
        "verdict_reasons": [reason.message for reason in verdict.reasons],
        "virtual_s": frames.manifest.get("virtual_s"),
        "wall_s": frames.manifest.get("wall_s"),
        **migration.summary(frames),
        **middlebox.summary(frames),
        **interference.summary(frames),
        **fairness.summary(frames),
        **wifi.summary(frames),
    }


def provenance(frames: Frames) -> dict[str, Any]:
    """Return what a derived file says of itself: its inputs and the code that made it."""
    version = metadata.version("mptcp-testbed")
    return {
        "run_id": frames.run_id,
        "inputs": frames.sources,
        "code": f"mptcp-testbed {version}, analysis {code_hash()}",
    }


@functools.cache
def code_hash() -> str:
    """Return twelve hexadecimal digits that stand for the source text of this package."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _write_frame(file: Path, table: pd.DataFrame, stamp: dict[str, Any]) -> None:
    """Write a table, some rows at a time: turned into Arrow's form it is there twice."""
    first, *rest = [table[part] for part in slices(len(table), GROUP_ROWS)] or [table]
    head = pa.Table.from_pandas(first, preserve_index=False)
    tail = (pa.Table.from_pandas(part, head.schema, preserve_index=False) for part in rest)
    _write_table(file, itertools.chain([head], tail), head.schema, stamp)


def _write_table(
    file: Path, parts: Iterable[pa.Table], schema: pa.Schema, stamp: dict[str, Any]
) -> None:
    # pandas takes this for the attributes of the table.
    known = {**(schema.metadata or {}), b"PANDAS_ATTRS": json.dumps(stamp).encode()}
    with pq.ParquetWriter(file, schema.with_metadata(known), compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)
