# SPDX-License-Identifier: Apache-2.0
"""A download in several attempts: which bytes of each connection belong to the file.

A client that gives a connection up loses what waits in its socket and asks for it again over the
next connection. Those bytes arrived twice and count once: as goodput, each attempt counts for what
the next one did not have to ask for.
"""

from typing import Any

import numpy as np
import pandas as pd


def limit_to_attempts(
    delivered: pd.DataFrame, subflows: pd.DataFrame, workload: dict[str, Any]
) -> pd.DataFrame:
    """Return the deliveries without what an aborted attempt did not keep.

    Args:
        delivered: what streams.follow returned.
        subflows: Frames.subflows.
        workload: of the manifest, with "attempts": each has first_byte and started_s.
    """
    attempts = workload.get("attempts") or []
    if len(attempts) < 2:
        return delivered
    firsts = [int(one["first_byte"]) for one in attempts]
    kept = np.diff([*firsts, int(workload.get("size_bytes") or firsts[-1])])
    starts_s = np.array([float(one["started_s"]) for one in attempts])
    begun = subflows.groupby("connection")["syn_s"].min()
    parts = []
    for connection, part in delivered.groupby("connection", sort=True):
        # The clocks of runner and capture are one; the SYN follows the start.
        number = int(np.searchsorted(starts_s, begun.get(connection, 0.0), side="right")) - 1
        so_far = np.minimum(part["bytes"].cumsum().to_numpy(), kept[max(number, 0)])
        size = np.diff(so_far, prepend=0)
        parts.append(part.assign(bytes=size)[size > 0])
    if not parts:
        return delivered
    kept_rows: pd.DataFrame = pd.concat(parts)
    return kept_rows.sort_values("t_ns", kind="stable", ignore_index=True)
