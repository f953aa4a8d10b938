# SPDX-License-Identifier: Apache-2.0
"""Quantities as people write them."""

from testbed.units import RATE_UNITS


def rate_text(rate_bps: int) -> str:
    """Return a rate with the largest unit that leaves a number of at least 1."""
    for unit, factor in sorted(RATE_UNITS.items(), key=lambda item: -item[1]):
        if rate_bps >= factor:
            return f"{rate_bps / factor:g} {unit}"
    return f"{rate_bps} bit/s"


def size_text(size_bytes: int) -> str:
    """Return a size in B, KB, MB or GB, decimal."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:g} {unit}"
    return f"{size_bytes} B"
