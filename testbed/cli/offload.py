# SPDX-License-Identifier: Apache-2.0
"""`testbed offload`: the download on the underground, from the spec to the figure."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from testbed.cli.parameters import DURATION, SIZE
from testbed.cli.ride_progress import RideProgress
from testbed.errors import SpecError
from testbed.lab.kernel import PROJECT_ROOT

DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "offload.yaml"


@click.command()
@click.option(
    "--trace-3g",
    type=click.Path(path_type=Path),
    help="Let the 3G downlink follow this trace (mahimahi's format) instead of a synthetic ride.",
)
@click.option("--size", type=SIZE, help="Size of the file, such as 10MB.")
@click.option("--duration", type=DURATION, help="When the ride ends at the latest, such as 60s.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Governs everything random.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--backend", type=click.Choice(["lab"]), default="lab", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--dry-run", is_flag=True, help="Print what would be built and run, as JSON.")
def offload(
    trace_3g: Path | None,
    size: int | None,
    duration: float | None,
    seed: int | None,
    out: Path,
    backend: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Download a file through an MPTCP proxy while WiFi comes and goes.

    A laptop on the underground has WiFi in the stations and 3G everywhere. The network, Squid and
    curl run in the lab; the result is a figure of the throughput on each interface.

    Example: testbed offload --trace-3g TMobile-UMTS-driving.down --size 10MB
    """
    plan = _plan(trace_3g, size, duration, seed)
    if dry_run:
        click.echo(json.dumps(plan, indent=1))
        return
    end, results = _carry_out(plan, out, backend, as_json)
    summary = _summary(end.manifest, end.run_dir)
    if as_json:
        found = {"results_dir": str(results), "report": summary["figure"], "runs": [summary]}
        click.echo(json.dumps(found))
    else:
        _print_summary(summary)
    sys.exit(0 if summary["verdict"] == "valid" else 1)


def _plan(
    trace_3g: Path | None, size: int | None, duration: float | None, seed: int | None
) -> dict[str, Any]:
    from testbed.plan import load_trace, plan_run
    from testbed.spec.load import load_spec

    overrides: dict[str, Any] = {}
    if seed is not None:
        overrides["seed"] = seed
    if size is not None:
        if size <= 0:
            raise SpecError("--size: a file of 0 bytes shows nothing; give it some megabytes")
        overrides["workload.size"] = f"{size} B"
    if duration is not None:
        if duration <= 0:
            raise SpecError("--duration: a ride of 0 s shows nothing; give it some seconds")
        overrides["duration"] = f"{duration:.6f} s"
    spec = load_spec(DEFAULT_SPEC, overrides)
    return plan_run(spec, load_trace(trace_3g) if trace_3g else None)


def _carry_out(plan: dict[str, Any], out: Path, backend_name: str, quiet: bool) -> tuple[Any, Path]:
    from analysis.report import write_report
    from testbed.backends import BACKENDS
    from testbed.orchestrate import carry_out
    from testbed.plan import plan_hash
    from testbed.rundir import new_results_dir, write_json

    backend = BACKENDS[backend_name]()
    backend.up()  # before there is a folder of results that says nothing
    results = new_results_dir(out, plan["experiment"], plan_hash(plan))
    write_json(results / "plan.json", {"runs": [plan]})

    def judge(run_dir: Path) -> dict[str, Any]:
        report = write_report(run_dir)
        return {"summary": report.summary}

    with RideProgress(plan["duration_s"], quiet=quiet) as progress:
        end = carry_out(
            plan,
            results,
            backend=backend,
            backend_name=backend_name,
            progress=progress.update,
            judge=judge,
        )
    return end, results


def _summary(manifest: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    found = manifest.get("summary", {})
    figure = run_dir / "derived" / "throughput.png"
    return {
        "run_dir": str(run_dir),
        "seed": manifest["seed"],
        "backend": manifest["backend"],
        "status": manifest["status"],
        "error": manifest["error"],
        "verdict": found.get("verdict", "invalid"),
        "verdict_reasons": found.get("verdict_reasons", [manifest["error"]]),
        "virtual_s": manifest.get("virtual_s"),
        "wall_s": manifest["wall_s"],
        "goodput_mbps": found.get("goodput_mbps"),
        "download_s": found.get("download_s"),
        "handover_gap_max_s": found.get("handover_gap_max_s"),
        "bytes_per_path": found.get("bytes_per_path"),
        "figure": str(figure) if figure.exists() else None,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    if summary["status"] == "complete":
        speedup = summary["virtual_s"] / summary["wall_s"]
        click.echo(
            f"downloaded in {summary['download_s']:.2f} s of virtual time at "
            f"{summary['goodput_mbps']:.2f} Mbit/s of goodput; longest silence "
            f"{summary['handover_gap_max_s']:.2f} s"
            if summary["download_s"] is not None
            else "the download did not end"
        )
        for path, size in summary["bytes_per_path"].items():
            click.echo(f"  {path:5} {size / 1e6:8.2f} MB")
        click.echo(f"took {summary['wall_s']:.1f} s, {speedup:.1f} times as fast as real time")
    click.echo(f"verdict: {summary['verdict']}")
    for reason in summary["verdict_reasons"]:
        click.echo(f"  {reason}")
    click.echo(f"results: {summary['run_dir']}")
    if summary["figure"]:
        click.echo(f"figure:  {summary['figure']}")
