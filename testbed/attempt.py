# SPDX-License-Identifier: Apache-2.0
"""One attempt at a run: what its manifest says, and a clean folder to begin with."""

import json
import os
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.rundir import write_json

# Of an attempt, as files and folders of the run directory.
LEFT = ("raw", "derived", ".lab", "manifest.json", "target.json", "runner.log", "analysis.log")

COMPLETE, FAILED, INTERRUPTED = "complete", "failed", "interrupted"


class Attempt:
    """What the manifest says of one run, apart from how it ended.

    Args:
        plan: the content of run.json.
        run_dir: its folder.
        backend_name: for the manifest.
        kernel: what identifies the backend's kernel.
    """

    def __init__(
        self, plan: dict[str, Any], run_dir: Path, backend_name: str, kernel: dict[str, Any]
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._backend_name = backend_name
        self._kernel = kernel
        self._started = time.monotonic()
        self._wall_s: float | None = None

    def clear(self) -> None:
        """Remove what an earlier attempt left, and make the folder for raw data.

        What was there may be anything: a link is removed and not followed.
        """
        for path in [*map(self._run_dir.joinpath, LEFT), *self._run_dir.glob(".*.new")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        (self._run_dir / "raw").mkdir(parents=True)

    def is_told(self) -> bool:
        """Say whether the runner left what it says when all went well."""
        told = _mapping(_read_target(self._run_dir).get("measured")).get("virtual_s")
        return isinstance(told, int | float)

    def write_manifest(
        self, status: str, error: str | None, verdict: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write the manifest, which says that nothing else will be written.

        Where the disk is full, the manifest is only returned.
        """
        if self._wall_s is None:
            self._wall_s = time.monotonic() - self._started
        target = _read_target(self._run_dir)
        manifest = {
            **_mapping(target.pop("measured", None)),
            **target,
            "schema": 1,
            "testbed": __version__,
            "experiment": self._plan["experiment"],
            "seed": self._plan["seed"],
            "backend": self._backend_name,
            "host": host_facts(),
            "status": status,
            "error": error,
            "wall_s": round(self._wall_s, 3),
            "kernel": {**_mapping(target.get("kernel")), **self._kernel},
            **(verdict or {}),
        }
        with suppress(OSError):
            write_json(self._run_dir / "manifest.json", manifest)
        return manifest


def host_facts() -> dict[str, Any]:
    """Return what the controller's machine is, and how busy it was."""
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _read_target(run_dir: Path) -> dict[str, Any]:
    try:
        return _mapping(json.loads((run_dir / "target.json").read_text()))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
