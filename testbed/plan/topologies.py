# SPDX-License-Identifier: Apache-2.0
"""Finds a topology by its name and builds it with the parameters of an experiment."""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from testbed.errors import PlanError
from testbed.topology import Direction, Topology, near_miss
from topologies import TOPOLOGIES


def find_topology(
    name: str, parameters: dict[str, Any], known_kinds: Mapping[str, type[Topology]] = TOPOLOGIES
) -> Topology:
    """Return a topology, built.

    Args:
        name: a key of known_kinds.
        parameters: of its build method; links are shaped by an experiment's `links` instead.
        known_kinds: topologies by name; ours by default.

    Raises:
        PlanError: there is no such topology, or it does not take these parameters.
    """
    if name not in known_kinds:
        known = ", ".join(sorted(known_kinds))
        hint = near_miss(name, known_kinds) or f" (there are {known})"
        raise PlanError(f'topology: "{name}" is not a topology{hint}')
    kind = known_kinds[name]
    known_parameters = build_parameters(kind)
    for key, value in parameters.items():
        if key not in known_parameters:
            hint = near_miss(key, known_parameters)
            raise PlanError(f'topology.parameters.{key}: "{name}" has no such parameter{hint}')
        _check_type(f"topology.parameters.{key}", value, known_parameters[key])
    return kind(**parameters)


def build_parameters(kind: type[Topology]) -> dict[str, Any]:
    """Return name and annotation of what a topology's build method takes from an experiment."""
    hints = typing.get_type_hints(kind.build)
    names = list(inspect.signature(kind.build).parameters)[1:]
    return {name: hints.get(name, Any) for name in names if hints.get(name) is not Direction}


def _check_type(place: str, value: Any, wanted: Any) -> None:
    kinds = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    plain = tuple(kind for kind in kinds if isinstance(kind, type) and kind is not Any)
    # To Python, True is an int.
    if plain and not (isinstance(value, plain) and (bool in plain or not isinstance(value, bool))):
        names = " or ".join(kind.__name__ for kind in plain)
        raise PlanError(f"{place}: {value!r} is not of the type {names}")
