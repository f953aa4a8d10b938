# SPDX-License-Identifier: Apache-2.0
"""Which cell each expectation of an experiment is about, as plain data for plan.json."""

from collections.abc import Iterator
from typing import Any

from testbed.errors import PlanError
from testbed.spec.expect import ExpectSpec
from testbed.spec.load import Experiment
from testbed.spec.matrix import value_text
from testbed.spec.places import value_at
from testbed.topology import near_miss

Values = dict[str, str]


def plan_expectations(experiment: Experiment, *, is_strict: bool = False) -> list[dict[str, Any]]:
    """Return every expectation once for each cell that it is about.

    Args:
        experiment: the loaded file, with what the command line says.
        is_strict: whether each has to be about a cell; a command line may leave cells out.

    Raises:
        PlanError: one names a key that the experiment neither varies nor sets, or, if that is
            asked, is about no cell.
    """
    found = []
    for number, spec in enumerate(experiment.spec.expect):
        place = f"expect.{number}"
        mine = [_plain(spec, *pair) for pair in _pairs(experiment, spec, place)]
        if not mine and is_strict:
            raise PlanError(f"{place}: no cell of the experiment is meant; see where, relative_to")
        found += mine or [_plain(spec, None, None)]
    return found


def _plain(spec: ExpectSpec, cell: Values | None, base: Values | None) -> dict[str, Any]:
    return {
        "number": spec.number,
        **spec.is_._asdict(),
        "of": spec.of,
        "where": _texts(spec.where),
        "relative_to": _texts(spec.relative_to),
        "cell": cell,
        "base": base,
    }


def _texts(values: dict[str, Any]) -> Values:
    return {key: value_text(value) for key, value in values.items()}


def _pairs(
    experiment: Experiment, spec: ExpectSpec, place: str
) -> Iterator[tuple[Values, Values | None]]:
    """Yield each cell that is meant, with the one that its number is divided by."""
    for key in (*spec.where, *spec.relative_to):
        _check_key(experiment, key, place)
    where, base = _texts(spec.where), _texts(spec.relative_to)
    cells = [cell.varied for cell in experiment.cells]
    for cell in cells:
        if not where.items() <= _known(experiment, cell, where).items():
            continue
        other = {**cell, **{key: value for key, value in base.items() if key in cell}}
        is_there = other in cells and base.items() <= _known(experiment, other, base).items()
        if not base:
            yield cell, None
        elif is_there:
            yield cell, other


def _known(experiment: Experiment, cell: Values, keys: Values) -> Values:
    """Return the values of a cell at some keys, those that are not varied too."""
    return {key: cell.get(key) or _set_value(experiment, key) for key in keys}


def _set_value(experiment: Experiment, key: str) -> str:
    return value_text(value_at(experiment.data, tuple(key.split("."))))


def _check_key(experiment: Experiment, key: str, place: str) -> None:
    varied = experiment.cells[0].varied
    if key not in varied and value_at(experiment.data, tuple(key.split("."))) is None:
        what = f'{place}: the experiment neither varies nor sets "{key}"'
        raise PlanError(f"{what}{near_miss(key, varied)}")
