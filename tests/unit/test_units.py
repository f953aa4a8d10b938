# SPDX-License-Identifier: Apache-2.0
"""Quantities with units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import units
from testbed.errors import SpecError
from tests.unit.odd_texts import odd_texts


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("8 Mbit/s", 8_000_000),
        ("8Mbit/s", 8_000_000),
        ("  0.5 kbit/s ", 500),
        ("1 bit/s", 1),
        ("2.5 Gbit/s", 2_500_000_000),
    ],
)
def test_rates(text, bps):
    assert units.parse_rate(text) == bps


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("75 ms", 0.075), ("1.5 s", 1.5), ("10 us", 1e-5), ("2 min", 120), ("1 h", 3600), ("0s", 0)],
)
def test_durations(text, seconds):
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("80 KB", 80_000),
        ("80 kB", 80_000),
        ("10MB", 10_000_000),
        ("1 GB", 10**9),
        ("1 KiB", 1024),
        ("1.5 MiB", 1_572_864),
        ("2 GiB", 2**31),
        ("7 B", 7),
    ],
)
def test_sizes(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 2**29), ("1 G", 2**30), ("4K", 4096), ("1 GB", 10**9), ("1 GiB", 2**30)],
)
def test_memory_has_binary_units(text, size):
    assert units.parse_memory(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "8", "8 ", "Mbit/s", "-8 Mbit/s", "8 mbit/s", "8 MB/s", "8,5 Mbit/s", "1e6 bit/s",
     ".5 Mbit/s", "inf Mbit/s", "8 Mbit/s x", "٨ Mbit/s", "8 8 Mbit/s"],
)  # fmt: skip
def test_what_is_no_rate(text):
    with pytest.raises(SpecError) as caught:
        units.parse_rate(text)
    assert str(caught.value) == (
        f'"{text}" is not a quantity with one of the units bit/s, kbit/s, Mbit/s, Gbit/s; '
        'write it as "8 Mbit/s"'
    )


@pytest.mark.parametrize("parse", [units.parse_rate, units.parse_duration, units.parse_size])
def test_bare_number_is_refused(parse):
    with pytest.raises(SpecError, match='"10" is not a quantity'):
        parse("10")


def test_parts_of_a_byte_are_refused():
    with pytest.raises(SpecError, match='^"0.5 B" is not a whole number of the smallest unit$'):
        units.parse_size("0.5 B")


@pytest.mark.parametrize("digits", [400, 5000])
def test_number_that_is_no_float_is_refused(digits):
    """Neither the limits of a float nor those of Python's int come through, nor all the digits."""
    with pytest.raises(SpecError) as caught:
        units.parse_duration("9" * digits + " s")
    assert len(str(caught.value)) < 150


@given(st.integers(0, 10**15), st.sampled_from(sorted(units.SIZE_UNITS)))
def test_whole_sizes_are_exact(number, unit):
    assert units.parse_size(f"{number} {unit}") == number * units.SIZE_UNITS[unit]


@given(odd_texts(30))
def test_any_text_is_a_quantity_or_refused(text):
    for parse in (units.parse_rate, units.parse_duration, units.parse_size, units.parse_memory):
        try:
            assert parse(text) >= 0
        except SpecError:
            continue
