# SPDX-License-Identifier: Apache-2.0
"""`testbed grin`: what servers gain from spare ports wired to their neighbours."""

from pathlib import Path
from typing import Any

import click

from testbed.cli.execute import execute
from testbed.cli.lists import COUNTS, FRACTIONS
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.cli.parameters import DURATION
from testbed.errors import SpecError
from testbed.lab.kernel import PROJECT_ROOT
from testbed.plan.modes import FULL

DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "grin.yaml"
TOPOLOGIES = ("fat_tree", "dual_homed_fat_tree", "vl2", "leaf_spine")

DEFAULT_SUBFLOWS = 8
SPARE_PORTS = [0, 1]
ACTIVE = [0.125, 0.25, 0.5, 0.75, 1.0]

# Those whose size is the number of a switch's ports, and what they call it.
SIZED = {"fat_tree": "k", "dual_homed_fat_tree": "k", "vl2": "ports"}

# Those whose links are slow if there are many, and a duration for them.
FAT_TREES = ("fat_tree", "dual_homed_fat_tree")
SLOW_DURATION_S = 60.0


@click.command()
@click.option("--topology", type=click.Choice(TOPOLOGIES), default="fat_tree", show_default=True)
@click.option("--k", type=int, help="Ports of a switch.  [default: 4]")
@click.option(
    "--spare-ports",
    type=COUNTS,
    help="Spare ports of each server, such as 0,1,2.  [default: 0,1]",
)
@click.option(
    "--active",
    type=FRACTIONS,
    help="Fractions of the servers that send, such as 12.5%,50% or 10%..100%.  "
    "[default: 1/8, 1/4, 1/2, 3/4, 1]",
)
@click.option(
    "--cc",
    "controls",
    type=SEVERAL,
    multiple=True,
    help="Congestion controls, as the kernel calls them; commas or repeated.  [default: cubic]",
)
@click.option(
    "--subflows",
    type=COUNTS,
    help="Subflows of a connection, such as 1..8; at least one for each pair of ports.  "
    "[default: 8]",
)
@click.option(
    "--mode",
    "modes",
    type=SEVERAL,
    multiple=True,
    help="tcp, mptcp-full or both.  [default: mptcp-full]",
)
@click.option("--rate", help="Of every server's port.  [default: 100 Mbit/s; 10 from k = 8 on]")
@click.option("--one-way-delay", help="Of every cable.  [default: 20 us]")
@click.option("--queue-packets", type=int, help="At every port.  [default: 100]")
@click.option(
    "--duration", type=DURATION, help="Of a run, such as 10s.  [default: 8s; 60 from k = 8 on]"
)
@click.option(
    "--engine",
    type=click.Choice(("lab", "fluid")),
    default="lab",
    show_default=True,
    help="Packets in the lab, or the flow-level model, for sizes that cannot be emulated.",
)
@click.option(
    "--emulated",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --engine fluid: results of runs in the lab. The model gets their networks and "
    "flows, and they are drawn on top.",
)
@run_options
def grin(
    topology: str,
    k: int | None,
    spare_ports: list[int] | None,
    active: list[float] | None,
    controls: tuple[list[str], ...],
    subflows: list[int] | None,
    modes: tuple[list[str], ...],
    rate: str | None,
    one_way_delay: str | None,
    queue_packets: int | None,
    duration: float | None,
    engine: str,
    emulated: Path | None,
    options: RunOptions,
) -> None:
    """Let active servers send to random others, with and without spare ports (GRIN).

    Every active server sends to one other as fast as it can, no server receives from two, and the
    fraction of active servers varies. Runs are carried out in a shuffled order.

    Example: testbed grin --k 4 --spare-ports 0,1 --active 12.5%,50%,100% --cc lia,reno --seeds 5
    """
    from testbed.spec.load import load_experiment

    if k is not None and topology not in SIZED:
        raise SpecError(f"--k: {topology} has no such size; use --set topology.parameters.leaves=8")
    if engine == "fluid":
        asked = {"--rate": rate, "--one-way-delay": one_way_delay}
        _refuse(
            {**asked, "--queue-packets": queue_packets, "--duration": duration, **options.overrides}
        )
        if emulated is not None:
            from testbed.cli.grin_emulated import compare_all

            said: dict[str, Any] = {"--k": k, "--spare-ports": spare_ports, "--active": active}
            said |= {"--subflows": subflows, "--cc": controls, "--mode": modes}
            _refuse_beside_runs(said)
            compare_all(emulated, options)
            return
        from testbed.cli.grin_fluid import solve_all

        values: dict[str, Any] = {
            "spare_ports": spare_ports or SPARE_PORTS,
            "active_fractions": active or ACTIVE,
            "controls": flatten(controls) or ["lia"],
            "subflows": subflows or [DEFAULT_SUBFLOWS],
        }
        size = {} if k is None else {SIZED[topology]: k}
        solve_all(topology, size, flatten(modes) or [FULL], values, options)
        return
    if emulated is not None:
        raise SpecError("--emulated: only the flow-level model is compared; add --engine fluid")
    parameters = {
        SIZED.get(topology, "k"): k,
        "rate": rate,
        "one_way_delay": one_way_delay,
        "queue_packets": queue_packets,
        "subflows": None if subflows else DEFAULT_SUBFLOWS,
    }
    matrix = {
        "mode": flatten(modes) or None,
        "topology.parameters.spare_ports": spare_ports or SPARE_PORTS,
        "topology.parameters.subflows": subflows,
        "tcp.congestion_control": flatten(controls) or None,
        "workload.active": active or ACTIVE,
    }
    given: dict[str, Any] = {
        "topology": {"name": topology, "parameters": _given(parameters)},
        "matrix": _given(matrix),
    }
    if duration is None and rate is None and _is_slow(topology, k):
        duration = SLOW_DURATION_S
    if duration is not None:
        given["duration"] = f"{duration:.6f} s"
    experiment = load_experiment(DEFAULT_SPEC, {**given, **options.overrides})
    execute(experiment, options, is_shuffled=True)


def _is_slow(topology: str, k: int | None) -> bool:
    """Say whether links have the lower rate, at which everything takes ten times as long."""
    from topologies.fat_tree import FAST_K

    return topology in FAT_TREES and k is not None and k > FAST_K


def _refuse(values: dict[str, Any]) -> None:
    """Refuse what has to do with packets.

    Raises:
        SpecError: the first that is given.
    """
    known = {"seed", "repetitions"}
    for name, value in values.items():
        if value is not None and name not in known:
            raise SpecError(f"{name}: the flow-level model has no packets, so it has no use for it")


def _refuse_beside_runs(values: dict[str, Any]) -> None:
    """Refuse what the runs of --emulated say already.

    Raises:
        SpecError: the first that is given.
    """
    for name, value in values.items():
        if value:
            raise SpecError(f"{name}: the runs of --emulated say that already; leave it out")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
