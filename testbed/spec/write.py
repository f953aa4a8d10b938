# SPDX-License-Identifier: Apache-2.0
"""Writes an experiment down as it was carried out."""

import copy
from pathlib import Path
from typing import Any

import yaml

from testbed.spec.load import Experiment

HEAD = "# The experiment as it was carried out, with what the command line replaced.\n"


def spec_text(experiment: Experiment, seed: int | None, repetitions: int | None) -> str:
    """Return a file that is the same experiment again.

    Args:
        experiment: as it was loaded.
        seed, repetitions: what was carried out instead of the file's; None: the file's.
    """
    said = {"seed": seed, "repetitions": repetitions}
    data = copy.deepcopy(experiment.data)
    data |= {key: value for key, value in said.items() if value is not None}
    for link in (data.get("links") or {}).values():
        for section in (link, link.get("up") or {}, link.get("down") or {}):
            if "trace" in section:
                section["trace"] = _absolute(section["trace"], experiment.folder)
    body: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return HEAD + body


def _absolute(trace: Any, folder: Path) -> Any:
    """Return a trace whose file is found from everywhere."""
    if isinstance(trace, dict):
        return {**trace, "file": str((folder / trace["file"]).absolute())}
    return str((folder / trace).absolute()) if isinstance(trace, str) else trace
