# SPDX-License-Identifier: Apache-2.0
"""Carries out runs one after the other and records how each of them ended."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import __version__
from testbed.backends.base import Backend, Progress
from testbed.errors import BackendError, TestbedError
from testbed.rundir import new_run_dir, write_json

COMPLETE, FAILED, INTERRUPTED = "complete", "failed", "interrupted"


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        run_dir: its folder.
        manifest: the content of its manifest.json.
    """

    run_dir: Path
    manifest: dict[str, Any]


def carry_out(
    plan: dict[str, Any],
    results: Path,
    *,
    backend: Backend,
    backend_name: str,
    progress: Progress,
    judge: Callable[[Path], dict[str, Any]],
) -> RunEnd:
    """Carry out one run; its failure is in the manifest and is not raised.

    Args:
        plan: the content of run.json.
        results: the folder of the whole call.
        backend: where to run it.
        backend_name: for the manifest.
        progress: called with each report of the runner.
        judge: returns what the manifest says of the verdict, from a complete run directory.

    Raises:
        TestbedError: the machine cannot carry out any run; after the manifest has been written.
        KeyboardInterrupt: likewise.
    """
    run_dir = new_run_dir(results, 1)
    write_json(run_dir / "run.json", plan)
    attempt = _Attempt(plan, run_dir, backend_name, backend.up())
    try:
        error = _run(plan, run_dir, backend, progress)
    except KeyboardInterrupt:
        attempt.write_manifest(INTERRUPTED, "interrupted by the user")
        raise
    except TestbedError as problem:
        attempt.write_manifest(FAILED, str(problem))
        raise
    if error:
        return RunEnd(run_dir, attempt.write_manifest(FAILED, error))
    attempt.write_manifest(COMPLETE, None)
    return RunEnd(run_dir, attempt.write_manifest(COMPLETE, None, judge(run_dir)))


def _run(plan: dict[str, Any], run_dir: Path, backend: Backend, progress: Progress) -> str | None:
    """Return why the run failed, or None."""
    said: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if "error" in event:
            said.append(event["error"])
        progress(event)

    try:
        status = backend.run(run_dir, plan["seed"], listen)
    except BackendError as error:
        return str(error)
    if status == 0:
        return None
    return said[-1] if said else f"the runner exited {status}; see {run_dir / 'runner.log'}"


class _Attempt:
    """What the manifest says of one run, apart from how it ended."""

    def __init__(
        self, plan: dict[str, Any], run_dir: Path, backend_name: str, kernel: dict[str, Any]
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._backend_name = backend_name
        self._kernel = kernel
        self._started = time.monotonic()
        self._wall_s: float | None = None

    def write_manifest(
        self, status: str, error: str | None, verdict: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write the manifest, which says that nothing else will be written."""
        if self._wall_s is None:
            self._wall_s = time.monotonic() - self._started
        target = _read_target(self._run_dir)
        manifest = {
            "schema": 1,
            "testbed": __version__,
            "experiment": self._plan["experiment"],
            "seed": self._plan["seed"],
            "backend": self._backend_name,
            "status": status,
            "error": error,
            "wall_s": round(self._wall_s, 3),
            "kernel": {**target.pop("kernel", {}), **self._kernel},
            **target.pop("measured", {}),
            **target,
            **(verdict or {}),
        }
        write_json(self._run_dir / "manifest.json", manifest)
        return manifest


def _read_target(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "target.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
