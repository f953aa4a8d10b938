# SPDX-License-Identifier: Apache-2.0
"""Read when a receiver of the workload `migrate` read how many bytes.

testbed/workloads/migrate_peer.py writes one record `struct "<QI"` per read.
"""

import numpy as np
import numpy.typing as npt

from testbed.errors import RunInvalid

READ = np.dtype([("t_ns", "<u8"), ("bytes", "<u4")])


def parse_reads(data: bytes) -> npt.NDArray[np.void]:
    """Return the reads in the order in which they were made; one that is cut off is left out.

    Raises:
        RunInvalid: a read was made before the one before it.
    """
    reads = np.frombuffer(data[: len(data) // READ.itemsize * READ.itemsize], dtype=READ)
    if reads.size and (np.diff(reads["t_ns"].astype(np.int64)) < 0).any():
        raise RunInvalid("a read was made before the one before it")
    return reads
