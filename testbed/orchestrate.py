# SPDX-License-Identifier: Apache-2.0
"""Carries out the runs of a plan, several at once, and records how each of them ended."""

import concurrent.futures as futures
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.attempt import COMPLETE, FAILED, INTERRUPTED, Attempt
from testbed.backends.base import Backend, Cancelled
from testbed.errors import BackendError, TestbedError
from testbed.rundir import PLAN_FILE, read_json

# How often the main thread looks whether it has been interrupted.
POLL_S = 0.2

JUDGING = {"stage": "judge", "t_s": None}

# A run by its folder, relative to the results; and a report of its runner.
Progress = Callable[[str, dict[str, Any]], None]
Judge = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        run_dir: its folder.
        plan: the content of its run.json.
        manifest: the content of its manifest.json.
        exit_code: 0, or that of the error that ended it.
    """

    run_dir: Path
    plan: dict[str, Any]
    manifest: dict[str, Any]
    exit_code: int = 0


def open_runs(results: Path) -> list[str]:
    """Return the folders of the runs that have not been completed, or not been judged, yet."""
    folders = [entry["dir"] for entry in read_json(results / PLAN_FILE)["runs"]]
    return [folder for folder in folders if not _is_done(_manifest(results / folder))]


def carry_out(
    results: Path,
    folders: Sequence[str],
    *,
    backend: Backend,
    backend_name: str,
    jobs: int,
    progress: Progress,
    judge: Judge,
) -> list[RunEnd]:
    """Carry out runs; the failure of one is in its manifest and keeps no other from running.

    Args:
        results: the folder of the whole call, with a run.json in the folder of each run.
        folders: of the runs, relative to the results.
        backend: where to run them.
        backend_name: for the manifests.
        jobs: how many at once.
        progress: called with the folder of a run and each report of its runner.
        judge: returns what the manifest says of the verdict, from a complete run directory.

    Raises:
        KeyboardInterrupt: after the runs under way have been ended and their manifests written.
        PrerequisiteError: the backend cannot be used at all.
    """
    kernel = backend.up()
    cancelled, are_handed_out = threading.Event(), threading.Event()

    def one(folder: str) -> RunEnd:
        are_handed_out.wait()
        run = _Run(results / folder, backend, backend_name, kernel, judge)
        return run.carry_out(lambda report: progress(folder, report), cancelled)

    with futures.ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="run") as pool:
        try:
            # Ctrl-C in the middle of this would leave a thread that the pool does not know.
            waiting = [pool.submit(one, folder) for folder in folders]
            are_handed_out.set()
            _wait(waiting)
        except BaseException:
            cancelled.set()
            are_handed_out.set()
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in waiting]


def _wait(waiting: list["futures.Future[RunEnd]"]) -> None:
    """Wait for all; the first error of ours, not of a run, ends the waiting."""
    left = set(waiting)
    while left:
        done, left = futures.wait(left, timeout=POLL_S, return_when=futures.FIRST_EXCEPTION)
        for future in done:
            future.result()


class _Run:
    """One run on its way through backend and judge."""

    def __init__(
        self,
        run_dir: Path,
        backend: Backend,
        backend_name: str,
        kernel: dict[str, Any],
        judge: Judge,
    ) -> None:
        self._run_dir = run_dir
        self._backend = backend
        self._judge = judge
        self._plan = read_json(run_dir / "run.json")
        self._attempt = Attempt(self._plan, run_dir, backend_name, kernel)

    def carry_out(
        self, progress: Callable[[dict[str, Any]], None], cancelled: threading.Event
    ) -> RunEnd:
        """Run, judge, and write the manifest."""
        if cancelled.is_set():
            raise Cancelled
        try:
            self._attempt.clear()
            error, code = self._run(progress, cancelled)
        except Cancelled:
            self._attempt.write_manifest(INTERRUPTED, "interrupted by the user")
            raise
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            error, code = f"{problem.filename or self._run_dir} cannot be written: {reason}", 1
        if error:
            return self._end(FAILED, error, code, progress)
        progress(JUDGING)
        self._attempt.write_manifest(COMPLETE, None)
        try:
            verdict = self._judge(self._run_dir)
        except TestbedError as problem:
            return self._end(FAILED, f"it cannot be analysed: {problem}", 1, progress)
        return self._end(COMPLETE, None, 0, progress, verdict)

    def _end(
        self,
        status: str,
        error: str | None,
        code: int,
        progress: Callable[[dict[str, Any]], None],
        verdict: dict[str, Any] | None = None,
    ) -> RunEnd:
        manifest = self._attempt.write_manifest(status, error, verdict)
        progress({"stage": "end", "t_s": manifest.get("virtual_s"), "manifest": manifest})
        return RunEnd(self._run_dir, self._plan, manifest, code)

    def _run(
        self, progress: Callable[[dict[str, Any]], None], cancelled: threading.Event
    ) -> tuple[str | None, int]:
        """Return why the run failed and the exit code of that, or None and 0."""
        said: list[str] = []

        def listen(event: dict[str, Any]) -> None:
            if "error" in event:
                said.append(event["error"])
            else:
                progress(event)

        try:
            status = self._backend.run(self._run_dir, self._plan["seed"], listen, cancelled)
        except BackendError as error:
            return str(error), error.exit_code
        except TestbedError as error:
            return str(error), error.exit_code
        log = self._run_dir / "runner.log"
        if status == 0:
            if self._attempt.is_told():
                return None, 0
            return f"the runner ended well, but did not say what it did; see {log}", 1
        return said[-1] if said else f"the runner exited {status}; see {log}", status


def _is_done(manifest: dict[str, Any]) -> bool:
    # Between the two there is a manifest without a verdict.
    return manifest.get("status") == COMPLETE and "summary" in manifest


def _manifest(run_dir: Path) -> dict[str, Any]:
    try:
        return read_json(run_dir / "manifest.json")
    except (OSError, json.JSONDecodeError):
        return {}
