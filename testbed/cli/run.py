# SPDX-License-Identifier: Apache-2.0
"""`testbed run`: carries out an experiment file."""

from pathlib import Path

import click

from testbed.cli.execute import execute
from testbed.cli.options import RunOptions, run_options


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@run_options
def run(file: Path, options: RunOptions) -> None:
    """Carry out the experiment in FILE: every cell of its matrix, every repetition.

    Example: testbed run experiments/offload.yaml --set workload.size='10 MB' --seeds 5
    """
    from testbed.spec.load import load_experiment

    execute(load_experiment(file, options.overrides), options)
