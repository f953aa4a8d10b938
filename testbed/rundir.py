# SPDX-License-Identifier: Apache-2.0
"""The folders of results: where they are, and how their files are written.

results/<experiment>/<UTC stamp>-<plan hash>/runs/<varied keys>/rep<NN>/
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.errors import SpecError

PLAN_FILE = "plan.json"
SPEC_FILE = "spec.yaml"


def new_results_dir(base: Path, experiment: str, digest: str) -> Path:
    """Make and return the folder of one call of an experiment.

    Raises:
        SpecError: it cannot be made.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(100):
        suffix = f"-{number}" if number else ""
        folder = base / experiment / f"{stamp}-{digest}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpecError(f"results cannot be written to {base}: {reason}") from error
        return folder
    raise SpecError(f"{base / experiment} already has a hundred results of this second")


def run_folder(key: str, repetition: int) -> str:
    """Return the folder of a run, relative to the results."""
    return f"runs/{key}/rep{repetition:02d}"


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is complete or absent, whatever happens to us."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("x") as file:  # a link in its place is not followed
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that we wrote."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file that is complete or absent."""
    write_atomically(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


def newest_results_dir(directory: Path) -> Path:
    """Return the newest results directory in a folder of them, such as results/offload or results.

    What is no such folder is returned as it is.
    """
    if any((directory / name).exists() for name in (PLAN_FILE, "run.json", "runs")):
        return directory
    found = [
        plan.parent for depth in ("*", "*/*") for plan in directory.glob(f"{depth}/{PLAN_FILE}")
    ]
    return max(found, key=lambda place: place.name, default=directory)  # names begin with the time
