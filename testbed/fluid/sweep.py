# SPDX-License-Identifier: Apache-2.0
"""Solve many cases and put them into one table, a row per case."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd

from testbed.fluid.case import FluidCase
from testbed.fluid.solve import solve


def matrix(
    base: FluidCase,
    spare_ports: Sequence[int] = (0, 1),
    active_fractions: Sequence[float] = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0),
    controls: Sequence[str] = ("lia",),
    subflows: Sequence[int] = (1,),
    seeds: Iterable[int] = (1,),
) -> Iterator[FluidCase]:
    """Return every combination of these values, each in the place of that of `base`."""
    every = product(spare_ports, active_fractions, controls, subflows, tuple(seeds))
    for ports, fraction, control, count, seed in every:
        yield replace(base, spare_ports=ports, active_fraction=fraction, cc=control,
                      subflows=count, seed=seed)  # fmt: skip


def sweep(cases: Iterable[FluidCase]) -> pd.DataFrame:
    """Solve cases one after the other; return their rows, with the names that `--json` has."""
    return pd.DataFrame([solve(case).row() for case in cases])
