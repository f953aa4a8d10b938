# SPDX-License-Identifier: Apache-2.0
"""`testbed grin --engine fluid`: the same sweep by the flow-level model, for any size."""

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from testbed.cli.options import RunOptions
from testbed.plan.datacenter import TCP
from testbed.plan.modes import FULL

if TYPE_CHECKING:
    import pandas as pd

    from testbed.fluid.case import FluidCase

SEEDS = 5


def solve_all(
    topology: str,
    parameters: dict[str, int],
    modes: Sequence[str],
    values: dict[str, Sequence[Any]],
    options: RunOptions,
) -> None:
    """Solve every combination, write the table and its figures, and print it.

    Args:
        topology, parameters: of the network.
        modes: `tcp`, `mptcp-full` or both.
        values: spare_ports, active_fractions, controls and subflows.
        options: the shared ones.
    """
    from testbed.fluid.sweep import sweep

    first = options.seed or 1
    seeds = range(first, first + (options.repetitions or SEEDS))
    cases = list(_cases(topology, parameters, modes, values, seeds))
    if options.is_dry:
        click.echo(f"{len(cases)} solutions of the flow-level model of {topology} {parameters}")
        return
    table = sweep(cases)
    folder = write_results(table, options.out)
    if options.as_json:
        click.echo(json.dumps({"results_dir": str(folder), "runs": _rows(table)}))
    else:
        keys = ["transport", "cc", "subflows", "spare_ports", "active_fraction"]
        numbers = ["goodput_nic", "oracle_nic", "optimum_nic", "lender_goodput_nic"]
        click.echo(table.groupby(keys)[numbers].mean().round(3).to_string())
        click.echo(f"results: {folder}")


def _cases(
    topology: str,
    parameters: dict[str, int],
    modes: Sequence[str],
    values: dict[str, Sequence[Any]],
    seeds: Iterable[int],
) -> "Iterator[FluidCase]":
    from testbed.fluid.case import FluidCase
    from testbed.fluid.emulated import payload_fraction
    from testbed.fluid.sweep import matrix

    for mode in modes:
        transport = {TCP: "tcp", FULL: "mptcp"}.get(mode, mode)
        share = payload_fraction(transport)
        base = FluidCase(topology, parameters, transport=transport, payload_fraction=share)
        counts = values["subflows"] if transport == "mptcp" else [1]
        ways: dict[str, Any] = {**values, "subflows": counts}
        yield from matrix(base, **ways, seeds=seeds)


def _rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return rows for JSON, which has no "not a number"."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return rows


def write_results(table: "pd.DataFrame", out: Path, emulated: "pd.DataFrame | None" = None) -> Path:
    """Write table and figures into a new folder of results.

    Args:
        table: of the model.
        out: where the folder is made.
        emulated: runs of the lab to draw on top.
    """
    from analysis.active_fraction import active_fraction_figure, subflows_figure
    from analysis.files import write_figure, write_table
    from analysis.report import code_hash
    from testbed.plan import plan_hash
    from testbed.rundir import new_results_dir

    folder = new_results_dir(out, "grin-fluid", plan_hash(_rows(table)))
    code = f"mptcp-testbed {metadata.version('mptcp-testbed')}, analysis {code_hash()}"
    write_table(folder / "runs.parquet", table, {"code": code})
    about = f"{len(table)} solutions of the flow-level model"
    is_mptcp = table["transport"] == "mptcp"
    for (cc, subflows), rows in table[is_mptcp].groupby(["cc", "subflows"]):
        figure = active_fraction_figure(rows, _cell(emulated, cc, subflows))
        write_figure(folder / f"active-{cc}-{subflows}", figure, code, about)
    if table["subflows"].nunique() > 1 or table["transport"].nunique() > 1:
        write_figure(folder / "subflows", subflows_figure(table, emulated), code, about)
    return folder


def _cell(table: "pd.DataFrame | None", cc: Any, subflows: Any) -> "pd.DataFrame | None":
    if table is None:
        return None
    is_of_cell = (table["cc"] == cc) & (table["subflows"] == subflows)
    found: pd.DataFrame = table[is_of_cell & (table["transport"] == "mptcp")]
    return found
