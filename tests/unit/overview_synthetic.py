# SPDX-License-Identifier: Apache-2.0
"""Write small results directories, as if their runs had been carried out and analysed."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

END_S, BIN_S = 10.0, 0.5
STATIONS = [[0.0, 3.0], [6.0, 8.0]]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@dataclass
class Run:
    """One run: what was varied, how it ended and what it measured."""

    varied: dict[str, str] = field(default_factory=lambda: {"mode": "mptcp-full"})
    repetition: int = 1
    status: str = "complete"  # or "not started", or "unfinished"
    verdict: str = "valid"
    mbps: float = 4.0
    has_ended: bool = True
    has_data: bool = True
    latencies_ms: tuple[float, ...] = ()

    @property
    def dir(self) -> str:
        key = ",".join(f"{k}={v}" for k, v in self.varied.items()) or "default"
        return f"runs/{key.replace('/', '_')}/rep{self.repetition:02d}"


def write_results(
    directory: Path, runs: list[Run], question: str = "Which?", spec: str = "schema: 1\n"
) -> Path:
    """Write a results directory and return it."""
    directory.mkdir(parents=True)
    (directory / "spec.yaml").write_text(spec)
    planned = [
        {"dir": run.dir, "varied": run.varied, "seed": run.repetition, "repetition": run.repetition}
        for run in runs
    ]
    varies = list(runs[0].varied) if runs else []
    plan = {"schema": 2, "experiment": "offload", "question": question, "varies": varies,
            "backend": "lab", "runs": planned}  # fmt: skip
    (directory / "plan.json").write_text(json.dumps(plan))
    for run in runs:
        if run.status != "not started":
            _write_run(directory / run.dir, run)
    return directory


def _write_run(folder: Path, run: Run) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(_plan_of(run)))
    if run.status == "unfinished":
        return
    error = None if run.status == "complete" else "the target died"
    manifest: dict[str, Any] = {
        "status": run.status, "error": error, "seed": run.repetition, "backend": "lab",
        "virtual_s": END_S, "wall_s": 2.0, "kernel": {"release": "7.3.4", "id": "7.3.4-0123"},
        "tools": {"curl": "curl 7.88.1"}, "host": {"cpus": 2}, "testbed": "0.1.0",
        "sysctls": {"laptop": {"net.mptcp.enabled": "1"}, "proxy": {"net.mptcp.enabled": "1"}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if run.has_data:
        _write_derived(folder / "derived", run)


def _plan_of(run: Run) -> dict[str, Any]:
    free = {"rate_bps": None, "one_way_delay_s": 0.0, "trace": None}
    links = [
        {"name": name, "a": "laptop", "b": "core", "a_interface": at, "b_interface": f"core-{name}",
         "a_to_b": free, "b_to_a": free}
        for name, at in (("wifi", "wlan0"), ("3g", "cell0"))
    ]  # fmt: skip
    paths = [
        {"name": name, "node": "laptop", "interface": at, "address": address, "to": "proxy"}
        for name, at, address in (("wifi", "wlan0", "10.0.1.2"), ("3g", "cell0", "10.0.2.2"))
    ]
    return {
        "schema": 2, "experiment": "offload", "run_id": run.dir.removeprefix("runs/"),
        "varied": run.varied, "seed": run.repetition, "mode": run.varied.get("mode"),
        "transport": "mptcp", "topology": {"nodes": [], "links": links, "paths": paths},
        "ride": {"stations": STATIONS}, "coverage": {"wifi": STATIONS},
        "mptcp": {"congestion_control": "cubic"},
        "workload": {"name": "download", "size_bytes": 4_000_000},
    }  # fmt: skip


def _write_derived(folder: Path, run: Run) -> None:
    folder.mkdir()
    size = int(run.mbps * END_S / 8e-6)
    for name, table in tables_of(run).items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    reasons = [] if run.verdict == "valid" else [
        {"check": "hash", "level": run.verdict, "message": f"for the test <b>{run.verdict}</b>",
         "evidence": {"asked": "a<b"}}
    ]  # fmt: skip
    summary = {
        "goodput_mbps": run.mbps, "download_s": END_S if run.has_ended else None,
        "handover_gap_max_s": 0.4, "bytes_per_path": {"wifi": size // 4, "3g": size - size // 4},
        "verdict": run.verdict, "verdict_reasons": [reason["message"] for reason in reasons],
        "virtual_s": END_S, "wall_s": 2.0,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "verdict.json").write_text(json.dumps({"status": run.verdict, "reasons": reasons}))
    (folder / "throughput.png").write_bytes(PIXEL)


def tables_of(run: Run) -> dict[str, pd.DataFrame]:
    """Return the derived tables of a run that the overview reads."""
    starts = np.arange(0, END_S, BIN_S)
    keys = {"run_id": run.dir, "t_s": starts, "host": "laptop", "subflow": -1}
    bytes_per_bin = int(run.mbps * BIN_S / 8e-6)
    goodput = pd.DataFrame({**keys, "path": "", "bytes": bytes_per_bin, "goodput_mbps": run.mbps})
    parts = [
        pd.DataFrame({**keys, "path": path, "direction": way, "ip_bytes": 1,
                      "throughput_mbps": run.mbps * share})
        for path, share in (("wifi", 0.25), ("3g", 0.75)) for way in ("rx", "tx")
    ]  # fmt: skip
    gaps = pd.DataFrame({
        "run_id": run.dir, "t_s": [np.nan, 3.0, 6.0], "host": "laptop",
        "path": ["", "wifi", "wifi"], "subflow": -1,
        "change": ["overall", "lost", "gained"], "gap_received_s": [0.4, 0.4, 0.01],
        "gap_delivered_s": [1.5, 1.5, 0.0], "gap_start_s": [3.0, 3.0, 0.0],
    })  # fmt: skip
    per_path = pd.DataFrame({"path": ["wifi", "3g"], "new_bytes": [1, 3]})
    arrivals = starts[(starts <= 3.0) | (starts >= 4.5)]
    delivered = pd.DataFrame({"run_id": run.dir, "t_s": arrivals, "bytes": 1})
    found = {"goodput": goodput, "delivered": delivered,
             "throughput": pd.concat(parts, ignore_index=True),
             "handover_gaps": gaps, "bytes_per_path": per_path}  # fmt: skip
    if run.latencies_ms:
        latency = np.array(run.latencies_ms)
        found["blocks"] = pd.DataFrame({"run_id": run.dir, "t_s": 0.0, "host": "laptop", "path": "",
                                        "subflow": -1, "flow": 0, "latency_ms": latency,
                                        "bytes": 8192})  # fmt: skip
    return found


def modes(*names: str, **fields: Any) -> list[Run]:
    """Return one run per mode."""
    return [Run(varied={"mode": name}, **fields) for name in names]
