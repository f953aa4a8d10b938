# SPDX-License-Identifier: Apache-2.0
"""Names of array types, and the few operations that the model needs on groups of a sorted array."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]
Sparse = Any  # scipy is not typed: a CSR array

NONE = -1  # in an array of indices: no such link


def incidence(links: Ints, count: int) -> Sparse:
    """Return the matrix links x paths that is 1 where a path crosses a link.

    Args:
        links: paths x hops; NONE where a path has fewer hops.
        count: how many links there are.
    """
    path, hop = np.nonzero(links != NONE)
    shape = (count, links.shape[0])
    ones = np.ones(path.size)
    return sp.csr_array(sp.coo_array((ones, (links[path, hop], path)), shape=shape))


def group_starts(group: Ints) -> Ints:
    """Return where each group of a sorted array of group numbers begins."""
    starts: Ints = np.flatnonzero(np.diff(group, prepend=-1))
    return starts


def row_minimum(matrix: Sparse, values: Floats) -> Floats:
    """Return, for each row of a CSR matrix, the least of `values` at its columns; inf if none."""
    least = np.full(matrix.shape[0], np.inf)
    filled = np.flatnonzero(np.diff(matrix.indptr))
    if filled.size:
        least[filled] = np.minimum.reduceat(values[matrix.indices], matrix.indptr[filled])
    return least
