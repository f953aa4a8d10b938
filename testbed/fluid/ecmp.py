# SPDX-License-Identifier: Apache-2.0
"""Choose next hops by hash, as switches do: the same packet header, the same way.

The kernel hashes addresses, protocol and ports with a seed of the switch
(`fib_multipath_hash_policy=3`, `fib_multipath_hash_seed`) and cuts the range of the hash into as
many equal parts as there are next hops. Here a 64-bit key stands for the header of a subflow,
every switch has a seed of its own, and SplitMix64's finaliser is the hash. Ports are chosen at
random by the kernel, so that no run of the emulation has exactly these choices.
"""

import numpy as np

from testbed.fluid.arrays import Ints, Keys

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(values: Keys) -> Keys:
    """Return numbers in which every bit depends on every bit of `values`."""
    values = (values ^ (values >> np.uint64(30))) * FIRST
    values = (values ^ (values >> np.uint64(27))) * SECOND
    return values ^ (values >> np.uint64(31))


def combine(keys: Keys, numbers: Ints) -> Keys:
    """Return keys that depend on keys and on numbers."""
    return mix(keys ^ mix((numbers.astype(np.uint64) + np.uint64(1)) * GOLDEN))


def subflow_keys(source: Ints, number: Ints, seed: int) -> Keys:
    """Return what stands for the header of the `number`-th subflow of each source."""
    start = mix(np.full(source.shape, seed, dtype=np.uint64) + GOLDEN)
    return combine(combine(start, source), number)


def choose(keys: Keys, switch: Ints, count: int) -> Ints:
    """Return which of `count` next hops each switch takes for each key."""
    hashes = combine(keys, switch) >> np.uint64(33)  # 31 bits, as in the kernel
    return ((hashes * np.uint64(count)) >> np.uint64(31)).astype(np.int64)
