# SPDX-License-Identifier: Apache-2.0
"""`testbed middlebox`: a connection is led through a middlebox, from spec to report."""

import click

from testbed.cli.execute import execute
from testbed.cli.interference import is_asked, load_interference
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.lab.kernel import PROJECT_ROOT

DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "middlebox.yaml"


@click.command()
@click.option(
    "--scene",
    "scenes",
    type=SEVERAL,
    multiple=True,
    help="Scenes to run: insert, bypass, chain, srv6 (these by default), or interference alone. "
    "May be repeated or take commas.",
)
@click.option(
    "--behaviour",
    "behaviours",
    type=SEVERAL,
    multiple=True,
    help="Of --scene interference: what the middlebox does, such as nat.  [default: all]",
)
@click.option(
    "--old",
    type=click.Choice(("backup", "close")),
    help="What becomes of the old subflow.  [default: both]",
)
@click.option(
    "--middlebox",
    "kind",
    type=click.Choice(("nat", "inspector", "proxy")),
    help="What the middlebox does.  [default: nat, or inspector for srv6]",
)
@click.option("--cc", "congestion_control", help="Congestion control at both ends, such as reno.")
@run_options
def middlebox(
    scenes: tuple[list[str], ...],
    behaviours: tuple[list[str], ...],
    old: str | None,
    kind: str | None,
    congestion_control: str | None,
    options: RunOptions,
) -> None:
    """Lead a connection through a middlebox, or away from one, during a download.

    The client opens a subflow to an address of the middlebox, which translates it to the server,
    or to an address that a list of segments leads past it, and closes the direct one or makes it a
    backup. The scene interference is another experiment: what becomes of a connection when a
    middlebox strips options, rewrites or splits segments.

    Example: testbed middlebox --scene insert,bypass --old backup --seeds 3
    """
    from testbed.plan.middlebox import SCENES_OF
    from testbed.spec.load import load_experiment

    if is_asked(named := flatten(scenes), wanted := flatten(behaviours)):
        execute(load_interference(named, wanted, old, congestion_control, options), options)
        return
    possible = list(SCENES_OF[kind]) if kind else None
    asked = {
        "matrix.mode": named or possible,
        "workload.old": old,
        "workload.middlebox": kind,
        "tcp.congestion_control": congestion_control,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    overrides = {**given, **options.overrides}
    execute(load_experiment(DEFAULT_SPEC, overrides), options)
