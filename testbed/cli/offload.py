# SPDX-License-Identifier: Apache-2.0
"""`testbed offload`: the download on the underground, in every mode, from spec to report."""

from pathlib import Path
from typing import Any

import click

from testbed.cli.execute import execute
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.cli.parameters import DURATION, SIZE
from testbed.errors import SpecError
from testbed.lab.kernel import PROJECT_ROOT

DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "offload.yaml"


@click.command()
@click.option(
    "--mode",
    "modes",
    type=SEVERAL,
    multiple=True,
    help="Modes to run: tcp-wifi, tcp-3g, tcp-handover, mptcp-full, mptcp-backup, mptcp-single. "
    "May be repeated or take commas.  [default: all]",
)
@click.option(
    "--ride",
    type=click.Path(path_type=Path),
    help="A file with the ride: stations, dwell, tunnel, fades ... or exact times (YAML).",
)
@click.option(
    "--trace-3g",
    type=click.Path(path_type=Path),
    help="Let the 3G downlink follow this trace (mahimahi's format or CSV).",
)
@click.option(
    "--trace-wifi",
    type=click.Path(path_type=Path),
    help="Let the WiFi downlink follow this trace.",
)
@click.option("--size", type=SIZE, help="Size of the file, such as 60MB.")
@click.option("--duration", type=DURATION, help="When a ride ends at the latest, such as 300s.")
@click.option("--queue-3g", help="Queue of the 3G link: bytes, packets or time, such as 200ms.")
@click.option("--queue-wifi", help="Queue of the WiFi link.")
@click.option("--cc", "congestion_control", help="Congestion control at both ends, such as reno.")
@run_options
def offload(
    modes: tuple[list[str], ...],
    ride: Path | None,
    trace_3g: Path | None,
    trace_wifi: Path | None,
    size: int | None,
    duration: float | None,
    queue_3g: str | None,
    queue_wifi: str | None,
    congestion_control: str | None,
    options: RunOptions,
) -> None:
    """Download a file through an MPTCP proxy on the underground, in every mode.

    A laptop has WiFi in the stations and 3G everywhere, with fades in the tunnels. Network, Squid
    and curl run in the lab; the result is a page with figures, and a verdict for each run.

    Example: testbed offload --mode mptcp-full,mptcp-backup --queue-3g 200ms --seeds 5
    """
    from testbed.spec.load import load_experiment

    asked = {
        "workload.size": None if size is None else _size(size),
        "duration": None if duration is None else _duration(duration),
        "links.3g.queue": queue_3g,
        "links.wifi.queue": queue_wifi,
        "links.3g.trace": str(trace_3g.absolute()) if trace_3g else None,
        "links.wifi.trace": str(trace_wifi.absolute()) if trace_wifi else None,
        "tcp.congestion_control": congestion_control,
        "ride": _ride(ride) if ride else None,
        "matrix.mode": flatten(modes) or None,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    execute(load_experiment(DEFAULT_SPEC, {**given, **options.overrides}), options)


def _size(size: int) -> str:
    if size <= 0:
        raise SpecError("--size: a file of 0 bytes shows nothing; give it some megabytes")
    return f"{size} B"


def _duration(duration: float) -> str:
    if duration <= 0:
        raise SpecError("--duration: a ride of 0 s shows nothing; give it some seconds")
    return f"{duration:.6f} s"


def _ride(path: Path) -> dict[str, Any]:
    """Return the content of a ride file, which has been checked."""
    from testbed.spec.document import read_document, read_text
    from testbed.spec.load import validate_section
    from testbed.spec.ride import RideSpec

    document = read_document(read_text(path, "ride"), str(path), "ride")
    validate_section(RideSpec, document)
    return document.data
