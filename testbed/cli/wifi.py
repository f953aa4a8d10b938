# SPDX-License-Identifier: Apache-2.0
"""`testbed wifi`: a station among access points, from spec to report."""

import click

from testbed.cli.execute import execute
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.lab.kernel import PROJECT_ROOT

EXPERIMENTS = PROJECT_ROOT / "experiments"
SCENES = {
    "walk": "wifi.yaml",
    "static": "wifi_static.yaml",
    "how-many-aps": "wifi_how_many_aps.yaml",
    "scan": "wifi_scan.yaml",
    "slots": "wifi_slots.yaml",
}


@click.command()
@click.option(
    "--scene",
    type=click.Choice(tuple(SCENES)),
    default="walk",
    show_default=True,
    help="A walk from one access point to the next, ten places between two, more and more of them "
    "that fail now and then, with and without background scans, or one NIC and its slots.",
)
@click.option(
    "--policy",
    "policies",
    type=SEVERAL,
    multiple=True,
    help="Policies to run: single-ap, fast-handover, two-nic, one-nic, all-aps, tcp-ap1, ... "
    "May be repeated or take commas.  [default: those of the scene]",
)
@click.option(
    "--level",
    type=click.Choice(("gate", "mac80211")),
    help="Links shaped by the radio model, or radios of the kernel.  [default: gate]",
)
@click.option("--switch", help="How long one NIC takes to change channel, 3ms to 10ms; commas.")
@click.option("--slot", help="How long one NIC stays on a channel, such as 100ms; commas.")
@click.option("--aps", help="Number of access points, 1 to 6; several by commas.")
@click.option("--cc", "congestion_control", help="Congestion control at both ends, such as reno.")
@run_options
def wifi(
    scene: str,
    policies: tuple[list[str], ...],
    level: str | None,
    switch: str | None,
    slot: str | None,
    aps: str | None,
    congestion_control: str | None,
    options: RunOptions,
) -> None:
    """Walk past access points with one NIC or two, and look at what becomes of a connection.

    What a link carries follows from where the station is. Its policy says which access points it
    uses; with one NIC on several channels it is on each by turns, and the others buffer.

    Example: testbed wifi --scene walk --policy single-ap,two-nic --seeds 5
    """
    from testbed.spec.document import read_document, read_text
    from testbed.spec.load import load_experiment

    path = EXPERIMENTS / SCENES[scene]
    matrix = dict(
        read_document(read_text(path, "experiment"), str(path), "experiment").data["matrix"]
    )
    if policies:
        matrix["mode"] = flatten(policies)
    asked: dict[str, object] = {
        "wifi.level": level,
        "tcp.congestion_control": congestion_control,
    }
    for key, text in (
        ("wifi.slots.switch", switch),
        ("wifi.slots.slot", slot),
        ("wifi.aps", aps),
    ):
        values = [part.strip() for part in text.split(",")] if text else []
        if values:
            matrix[key] = [int(one) if one.isdigit() else one for one in values]
    given = {key: value for key, value in asked.items() if value is not None}
    given["matrix"] = matrix
    execute(load_experiment(path, {**given, **options.overrides}), options)
