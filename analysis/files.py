# SPDX-License-Identifier: Apache-2.0
"""Write derived files: the same content gives the same bytes, and each says where it comes from."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style

PNG_DPI = 160
WORK_PREFIX = ".derived-"


@contextmanager
def working_directory(parent: Path) -> Iterator[Path]:
    """Give a directory to make derived/ in, which is removed unless it has been moved.

    What others who were killed left there goes too; who is at work holds a lock.
    """
    for left in parent.glob(f"{WORK_PREFIX}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=parent))
    try:
        with _locked(work):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_table(file: Path, table: pd.DataFrame, stamp: dict[str, Any]) -> None:
    """Write a Parquet file; pandas keeps the stamp in it and gives it back as `attrs`."""
    table = table.copy(deep=False)
    table.attrs.update(stamp)
    table.to_parquet(file, engine="pyarrow", compression="zstd", index=False)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON object with its keys in order."""
    file.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def write_figure(stem: Path, figure: Figure, code: str, about: str) -> None:
    """Write STEM.png and STEM.pdf without dates.

    Args:
        code: what made the figure.
        about: of what it was made.
    """
    png = {"Software": code, "Description": about}
    pdf = {"Creator": code, "Producer": "matplotlib", "Subject": about, "CreationDate": None}
    with style.settings():
        figure.savefig(stem.with_suffix(".png"), dpi=PNG_DPI, metadata=png)
        figure.savefig(stem.with_suffix(".pdf"), metadata=pdf)


def replace_directory(new: Path, old: Path) -> None:
    """Put a finished directory in the place of the one before it."""
    new.chmod(0o755)
    if old.exists():
        old.replace(aside := new.with_name(new.name + "-old"))
        new.replace(old)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        new.replace(old)
