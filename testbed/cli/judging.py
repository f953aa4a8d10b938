# SPDX-License-Identifier: Apache-2.0
"""Analyses runs beside the runs that go on: in processes of their own, because it takes a core."""

import concurrent.futures as futures
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from pathlib import Path
from typing import Any, NoReturn

from testbed.errors import BackendError, TestbedError
from testbed.orchestrate import Judge

# Removing half an analysis takes a moment, and nobody waits for it.
CLEANING_S = 2.0


@contextmanager
def judges(count: int) -> Iterator[Judge]:
    """Give a function that analyses a run and returns what its manifest says of that.

    Args:
        count: of analyses at once.
    """
    context = multiprocessing.get_context("spawn")
    pool = futures.ProcessPoolExecutor(count, context, initializer=_prepare)
    # Its imports take seconds; meanwhile the first runs are under way.
    for _ in range(count):
        pool.submit(_warm)

    def judge(run_dir: Path) -> dict[str, Any]:
        try:
            return {"summary": pool.submit(_summary, run_dir).result()}
        except (BrokenProcessPool, SystemExit) as error:
            raise BackendError(
                f"the analysis of {run_dir} was killed, perhaps for want of memory; "
                f"try 'testbed report {run_dir}'"
            ) from error

    try:
        yield judge
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    # Ctrl-C on a terminal, and its end, reach every process; the main one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end(number: int, frame: object) -> NoReturn:
    """End what is being done, with its clean-up."""
    sys.exit(1)


def _end_with_parent() -> None:
    """End when the main process has been killed; waiting for work would last for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(CLEANING_S)
    os._exit(1)


def _warm() -> None:
    import analysis.report  # noqa: F401


def _summary(run_dir: Path) -> dict[str, Any]:
    """Return the summary of a run; a mistake of ours there keeps no other run from its own."""
    from analysis.report import write_report

    try:
        return write_report(run_dir).summary
    except (OSError, TestbedError):
        raise
    except Exception as error:
        log = run_dir / "analysis.log"
        log.write_text(traceback.format_exc())
        raise BackendError(
            f"the analysis made a mistake ({type(error).__name__}: {error}), which {log} shows; "
            f"report it, and then try 'testbed report {run_dir}'"
        ) from error
