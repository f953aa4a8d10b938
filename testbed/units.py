# SPDX-License-Identifier: Apache-2.0
"""Quantities with units: text such as "8 Mbit/s" to a number in SI base units, and back.

Rates are in bit/s with decimal prefixes, sizes in bytes: KB and MB are decimal, KiB and MiB
binary (IEC 80000-13). A bare number is refused, because nobody can know what it means.
"""

import re
from fractions import Fraction

from testbed.errors import SpecError

RATE_UNITS = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
TIME_UNITS = {
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
}
SIZE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
LENGTH_UNITS = {"m": Fraction(1), "km": Fraction(1000)}
SPEED_UNITS = {"m/s": Fraction(1), "km/h": Fraction(1000, 3600)}

# No quantity of ours needs more digits, and a number of thousands is not even a float.
_QUANTITY = re.compile(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z/]+)\s*", re.ASCII)


def parse_rate(text: str) -> int:
    """Return the bit/s that a text such as "8 Mbit/s" stands for."""
    return _whole(text, _parse(text, {k: Fraction(v) for k, v in RATE_UNITS.items()}, "8 Mbit/s"))


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as "75 ms" stands for."""
    return float(_parse(text, TIME_UNITS, "75 ms"))


def parse_size(text: str) -> int:
    """Return the bytes that a text such as "80 KB" stands for."""
    return _whole(text, _parse(text, {k: Fraction(v) for k, v in SIZE_UNITS.items()}, "80 KB"))


def parse_memory(text: str) -> int:
    """Return the bytes of a memory size, where K, M and G alone mean the binary units."""
    match = re.fullmatch(r"\s*(\d+)\s*([KMG])\s*", text)
    return parse_size(f"{match[1]} {match[2]}iB") if match else parse_size(text)


def parse_length(text: str) -> float:
    """Return the metres that a text such as "40 m" stands for."""
    return float(_parse(text, LENGTH_UNITS, "40 m"))


def parse_speed(text: str) -> float:
    """Return the m/s that a text such as "1.4 m/s" stands for."""
    return float(_parse(text, SPEED_UNITS, "1.4 m/s"))


def parse_level(text: str) -> float:
    """Return the decibels of a ratio, "4 dB", or of a power, "15 dBm"."""
    return float(_parse(text, {"dB": Fraction(1), "dBm": Fraction(1)}, "15 dBm"))


def _parse(text: str, units: dict[str, Fraction], example: str) -> Fraction:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise SpecError(
            f'"{text[:40]}" is not a quantity with one of the units {", ".join(units)}; '
            f'write it as "{example}"'
        )
    return Fraction(match[1]) * units[match[2]]


def _whole(text: str, value: Fraction) -> int:
    if value.denominator != 1:
        raise SpecError(f'"{text}" is not a whole number of the smallest unit')
    return int(value)
