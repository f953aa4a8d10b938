# SPDX-License-Identifier: Apache-2.0
"""`testbed migrate`: a virtual machine moves to another datacenter, from spec to report."""

import click

from testbed.cli.execute import execute
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.lab.kernel import PROJECT_ROOT

DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "migrate.yaml"


@click.command()
@click.option(
    "--variant",
    "variants",
    type=SEVERAL,
    multiple=True,
    help="Variants to run: mptcp-make-before-break, mptcp-break-before-make, tcp-renumbered, "
    "tcp-l2-tunnel, tcp-proxy. May be repeated or take commas.  [default: all]",
)
@click.option("--memory", help="Memory of the machine, such as 64MiB; several by commas.")
@click.option("--dirty-rate", help="How fast it writes to clean pages, such as 16Mbit/s.")
@click.option("--bandwidth", help="What the migration may send, such as 64Mbit/s.")
@click.option("--downtime-limit", help="For how long QEMU may stop the machine, such as 300ms.")
@click.option("--max-rounds", type=int, help="Rounds of pre-copy after which there are no more.")
@click.option("--one-way-delay", help="Of the wide-area link, such as 10ms; several by commas.")
@click.option("--cc", "congestion_control", help="Congestion control at both ends, such as reno.")
@run_options
def migrate(
    variants: tuple[list[str], ...],
    memory: str | None,
    dirty_rate: str | None,
    bandwidth: str | None,
    downtime_limit: str | None,
    max_rounds: int | None,
    one_way_delay: str | None,
    congestion_control: str | None,
    options: RunOptions,
) -> None:
    """Move a virtual machine to another datacenter during a download and an upload.

    Its memory crosses the wide-area link in rounds, as QEMU and Xen send it; then it stands still
    until the rest has arrived, and goes on behind an address of the other datacenter.

    Example: testbed migrate --variant mptcp-make-before-break,tcp-renumbered --memory 32MiB,128MiB
    """
    from testbed.plan.migrate import VARIANTS
    from testbed.spec.load import load_experiment

    asked = {
        "workload.memory": memory,
        "workload.dirty_rate": dirty_rate,
        "workload.bandwidth": bandwidth,
        "workload.downtime_limit": downtime_limit,
        "links.wan.one_way_delay": one_way_delay,
    }
    varied: dict[str, list[str]] = {"mode": flatten(variants) or list(VARIANTS)}
    given: dict[str, object] = {
        "workload.max_rounds": max_rounds,
        "tcp.congestion_control": congestion_control,
    }
    for key, text in asked.items():
        values = [part.strip() for part in (text or "").split(",")]
        if len(values) > 1:
            varied[key] = values
        else:
            given[key] = text
    chosen = {key: value for key, value in given.items() if value is not None}
    overrides = {"matrix": varied, **chosen, **options.overrides}
    execute(load_experiment(DEFAULT_SPEC, overrides), options)
