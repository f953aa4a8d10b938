# SPDX-License-Identifier: Apache-2.0
"""`testbed middlebox --scene interference`: a table, from an experiment of its own."""

from collections.abc import Sequence

from testbed.cli.options import RunOptions
from testbed.errors import SpecError
from testbed.lab.kernel import PROJECT_ROOT
from testbed.spec.load import Experiment

INTERFERENCE = "interference"
SPEC = PROJECT_ROOT / "experiments" / "interference.yaml"


def is_asked(scenes: Sequence[str], behaviours: Sequence[str]) -> bool:
    """Say whether the command line asks for the table."""
    return INTERFERENCE in scenes or bool(behaviours)


def load_interference(
    scenes: Sequence[str],
    behaviours: Sequence[str],
    old: str | None,
    congestion_control: str | None,
    options: RunOptions,
) -> Experiment:
    """Return the experiment of the table.

    Raises:
        SpecError: it is asked for together with what it does not have.
    """
    from testbed.spec.load import load_experiment

    if others := [name for name in scenes if name != INTERFERENCE]:
        raise SpecError(
            f"--scene: {INTERFERENCE} has runs of its own; call it without {', '.join(others)}"
        )
    if old is not None:
        raise SpecError(f"--old: {INTERFERENCE} replaces no subflow; leave it out")
    if not scenes:
        raise SpecError(f"--behaviour: it is for --scene {INTERFERENCE}; add that")
    asked = {"matrix.mode": [*behaviours] or None, "tcp.congestion_control": congestion_control}
    given = {key: value for key, value in asked.items() if value is not None}
    return load_experiment(SPEC, {**given, **options.overrides})
