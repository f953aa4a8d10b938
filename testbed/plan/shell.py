# SPDX-License-Identifier: Apache-2.0
"""Turns what `testbed shell` is told into a network as plain data."""

import runpy
from pathlib import Path
from typing import Any

from testbed.errors import PlanError, SpecError
from testbed.plan.links import shape_links
from testbed.plan.topologies import find_topology
from testbed.spec.document import Document
from testbed.spec.load import validate_section
from testbed.spec.matrix import place_value
from testbed.spec.model import LinkSpec
from testbed.spec.section import Section
from testbed.topology import Topology
from topologies import TOPOLOGIES

# Longer than anybody keeps a shell open; a trace must have an end.
LONGEST_S = 24 * 3600.0


class ShellSpec(Section):
    """What may be set besides the parameters of a topology."""

    links: dict[str, LinkSpec] = {}


def plan_shell(topology: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a network as plain data.

    Args:
        topology: a name, FILE.py or FILE.py:NAME.
        settings: values by key: links.NAME.KEY is of a link, all others are parameters.

    Raises:
        SpecError, PlanError: there is no such topology, link or parameter.
    """
    of_links = {key: value for key, value in settings.items() if key.partition(".")[0] == "links"}
    parameters = {key: value for key, value in settings.items() if key not in of_links}
    name, known = topology, TOPOLOGIES
    file, _, chosen = topology.partition(":")
    if file.endswith(".py"):
        known = load_topologies(Path(file))
        name = chosen or _only(known, file)
    made = find_topology(name, parameters, known)
    if shape_links(made, _links(of_links), Path.cwd(), LONGEST_S):
        raise PlanError("a shell cannot follow a CSV trace; use one in mahimahi's format")
    return made.plain()


def _links(settings: dict[str, Any]) -> dict[str, LinkSpec]:
    data: dict[str, Any] = {}
    places: dict[tuple[str, ...], int] = {}
    for key, value in settings.items():
        place_value(data, key, value)
        parts = tuple(key.split("."))
        places |= {parts[:end]: 0 for end in range(1, len(parts) + 1)}
    found: ShellSpec = validate_section(ShellSpec, Document("--set", data, places, []))
    return found.links


def load_topologies(path: Path) -> dict[str, type[Topology]]:
    """Return the topologies in a file, as `mn --custom` finds them.

    Raises:
        SpecError: it cannot be read, or has none.
        PlanError: one of them is not one of ours.
    """
    try:
        found = runpy.run_path(str(path)).get("topos")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f"{path}: the topology cannot be read: {reason}") from error
    except Exception as error:
        raise SpecError(f"{path}: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not found:
        raise SpecError(f'{path}: this file has no topos = {{"name": Topology}}')
    for name, kind in found.items():
        if not (isinstance(kind, type) and issubclass(kind, Topology)):
            raise PlanError(
                f'{path}: "{name}" is not a class derived from testbed.topology.Topology'
            )
    return found


def _only(known: dict[str, type[Topology]], file: str) -> str:
    if len(known) > 1:
        raise PlanError(f"{file} has the topologies {', '.join(known)}; say which: {file}:NAME")
    return next(iter(known))
