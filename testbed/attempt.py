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
        """Remove what an earlier attempt left, and make the folder for raw data."""
        for name in ("raw", "derived"):
            shutil.rmtree(self._run_dir / name, ignore_errors=True)
        for name in ("manifest.json", "target.json", "runner.log"):
            with suppress(FileNotFoundError):
                (self._run_dir / name).unlink()
        (self._run_dir / "raw").mkdir(parents=True)

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
            "schema": 1,
            "testbed": __version__,
            "experiment": self._plan["experiment"],
            "seed": self._plan["seed"],
            "backend": self._backend_name,
            "host": host_facts(),
            "status": status,
            "error": error,
            "wall_s": round(self._wall_s, 3),
            "kernel": {**target.pop("kernel", {}), **self._kernel},
            **target.pop("measured", {}),
            **target,
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
    path = run_dir / "target.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
