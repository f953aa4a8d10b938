# SPDX-License-Identifier: Apache-2.0
"""Write derived files: the same content gives the same bytes, and each says where it comes from."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis import style

PNG_DPI = 160


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
        shutil.rmtree(aside)
    else:
        new.replace(old)
