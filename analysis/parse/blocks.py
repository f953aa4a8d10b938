# SPDX-License-Identifier: Apache-2.0
"""Read the blocks of bulk flows: when the application had each, and when its peer had all of it.

testbed/workloads/bulk_receiver.py writes one record `struct "<IIQQ"` per block.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from testbed.errors import RunInvalid

BLOCK = np.dtype(
    [
        ("flow", "<u4"),
        ("bytes", "<u4"),
        ("sent_ns", "<u8"),  # Unix times
        ("received_ns", "<u8"),
    ]
)
MOST_NS = 2**63 - 1


def parse_blocks(data: bytes | memoryview) -> npt.NDArray[np.void]:
    """Read a file of blocks, in file order, which is that of reception.

    Args:
        data: the file; a record that its end cuts off is left out.

    Raises:
        RunInvalid: a block was received before it was sent, or at an impossible time.
    """
    view = memoryview(data)
    blocks = np.frombuffer(view[: len(view) // BLOCK.itemsize * BLOCK.itemsize], dtype=BLOCK)
    wrong = np.flatnonzero(
        (blocks["received_ns"] < blocks["sent_ns"]) | (blocks["received_ns"] > MOST_NS)
    )
    if wrong.size:
        raise RunInvalid(f"block {wrong[0]} was received before it was sent, or never")
    return blocks


def block_rows(
    blocks: npt.NDArray[np.void], run_id: str, start_ns: int, receivers: Mapping[int, str]
) -> pd.DataFrame:
    """Return the blocks as a table; t_s is the time of reception since the run's start.

    Args:
        blocks: from parse_blocks.
        run_id: of the run.
        start_ns: Unix time of t_s = 0.
        receivers: flow -> receiving node (see receiving_nodes).

    Raises:
        RunInvalid: a block is of a flow that is not planned.
    """
    flows, places = np.unique(blocks["flow"], return_inverse=True)
    unknown = [flow for flow in flows.tolist() if flow not in receivers]
    if unknown:
        raise RunInvalid(f"blocks were recorded of flow {unknown[0]}, which is not in the plan")
    nodes = [receivers[flow] for flow in flows.tolist()]
    names = sorted(set(nodes))
    codes = np.array([names.index(node) for node in nodes], dtype=np.int32)
    received, sent = (blocks[name].astype(np.int64) for name in ("received_ns", "sent_ns"))
    nothing = np.zeros(blocks.size, dtype=np.int8)
    return pd.DataFrame(
        {
            "run_id": pd.Categorical.from_codes(nothing, categories=pd.Index([run_id])),
            "t_s": (received - start_ns) / 1e9,
            "host": pd.Categorical.from_codes(
                codes[places], categories=pd.Index(names, dtype="str")
            ),
            "path": pd.Categorical.from_codes(nothing, categories=pd.Index([""])),
            "subflow": np.full(blocks.size, -1, dtype=np.int32),
            "flow": blocks["flow"],
            "latency_ms": (received - sent) / 1e6,
            "bytes": blocks["bytes"],
        }
    )


def receiving_nodes(workload: Mapping[str, Any]) -> dict[int, str]:
    """Return which node receives each flow, from "workload" of run.json."""
    return {
        flow["id"]: flow["client" if flow["direction"] == "down" else "server"]
        for flow in workload["flows"]
    }
