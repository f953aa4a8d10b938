# SPDX-License-Identifier: Apache-2.0
"""`testbed report`: tables, figures and verdict once more, from the raw data."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from analysis.report import write_report
from testbed.errors import RunInvalid, SpecError


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def report(directory: Path, as_json: bool) -> None:
    """Analyse the runs in DIRECTORY again and write their figures and tables.

    DIRECTORY is a run directory or the folder of a whole call. Raw data are only read.

    Example: testbed report results/offload/20260101T120000Z-0123abcd
    """
    manifests = sorted(directory.rglob("manifest.json"))
    if not manifests:
        raise SpecError(f"{directory} holds no finished run: there is no manifest.json in it")
    found = []
    for manifest in manifests:
        summary = _analyse(manifest.parent)
        found.append({"run_dir": str(manifest.parent), **summary})
        if not as_json:
            click.echo(f"{summary['verdict']:8} {manifest.parent}")
    if as_json:
        click.echo(json.dumps({"runs": found}))
    sys.exit(0 if all(run["verdict"] == "valid" for run in found) else 1)


def _analyse(run_dir: Path) -> dict[str, Any]:
    """Return the summary of a run; one that cannot be analysed does not keep others from it."""
    try:
        return write_report(run_dir).summary
    except RunInvalid as error:
        return {"verdict": "invalid", "verdict_reasons": [str(error)]}
