# SPDX-License-Identifier: Apache-2.0
"""Values of an experiment file that are written as text: quantities with units, and ranges."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.errors import SpecError
from testbed.units import (
    parse_duration,
    parse_length,
    parse_level,
    parse_rate,
    parse_size,
    parse_speed,
)

# A full-size packet of the emulated links, by which a queue in packets is counted.
PACKET_BYTES = 1500

_RANGE = re.compile(r"(?P<low>.+?)\s*\.\.\s*(?P<high>.+)")
_PACKETS = re.compile(r"\s*(\d{1,9})\s*packets?\s*", re.ASCII)


def _checked(convert: Callable[[str], object]) -> Callable[[object], object]:
    """Turn a SpecError into the ValueError that pydantic reports with the value's place."""

    def check(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("write the quantity with its unit, as a text")
        try:
            return convert(value)
        except SpecError as error:
            raise ValueError(str(error)) from error

    return check


def _as_text(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "examples": [example]})


def parse_range(text: str, parse: Callable[[str], Any]) -> tuple[Any, Any]:
    """Return the two ends of "20 s .. 40 s"; a single value is both of them.

    Raises:
        SpecError: an end is not a quantity, or the second is below the first.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        value = parse(text)
        return value, value
    low, high = parse(match["low"]), parse(match["high"])
    if high < low:
        raise SpecError(f'"{text}" ends below its beginning; write the smaller value first')
    return low, high


def parse_queue(text: str) -> dict[str, float]:
    """Return {"bytes": n} or {"seconds": t} of a queue such as "80 KB", "50 packets" or "2 s"."""
    if match := _PACKETS.fullmatch(text):
        return {"bytes": int(match[1]) * PACKET_BYTES}
    for kind, parse in (("seconds", parse_duration), ("bytes", parse_size)):
        with suppress(SpecError):
            return {kind: parse(text)}
    raise SpecError(f'"{text}" is not a queue; write it as "80 KB", "50 packets" or "200 ms"')


def parse_place(text: str) -> tuple[float, float]:
    """Return x and y, in metres, of a place such as "20 m, 5 m".

    Raises:
        SpecError: it is not two lengths.
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise SpecError(f'"{text}" is not a place; write it as "20 m, 5 m"')
    return parse_length(parts[0].strip()), parse_length(parts[1].strip())


def _parse_count(text: str) -> int:
    if not re.fullmatch(r"\s*\d{1,9}\s*", text, re.ASCII):
        raise SpecError(f'"{text}" is not a whole number')
    return int(text)


def _count_range(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, value
    if not isinstance(value, str):
        raise ValueError('write a whole number, or a range such as "1 .. 3"')
    try:
        return parse_range(value, _parse_count)
    except SpecError as error:
        raise ValueError(str(error)) from error


# The kernel counts rates in whole bytes per second and the bytes of a queue in 32 bits.
Rate = Annotated[
    int, Field(ge=8, lt=2**63), BeforeValidator(_checked(parse_rate)), _as_text("8 Mbit/s")
]
DAY_S = 86_400
Duration = Annotated[
    float, Field(ge=0, le=DAY_S), BeforeValidator(_checked(parse_duration)), _as_text("75 ms")
]
PositiveDuration = Annotated[
    float, Field(gt=0, le=DAY_S), BeforeValidator(_checked(parse_duration)), _as_text("60 s")
]
Size = Annotated[int, Field(gt=0), BeforeValidator(_checked(parse_size)), _as_text("10 MB")]
BufferSize = Annotated[
    int,
    Field(ge=4096, lt=2**31),
    BeforeValidator(_checked(parse_size)),
    _as_text("6 MB"),
]
QueueSize = Annotated[dict[str, float], BeforeValidator(_checked(parse_queue)), _as_text("80 KB")]
DurationRange = Annotated[
    tuple[float, float],
    BeforeValidator(_checked(lambda text: parse_range(text, parse_duration))),
    _as_text("20 s .. 40 s"),
]
CountRange = Annotated[
    tuple[int, int],
    BeforeValidator(_count_range),
    WithJsonSchema({"type": ["integer", "string"], "examples": ["1 .. 3"]}),
]
Length = Annotated[
    float, Field(gt=0, le=1e5), BeforeValidator(_checked(parse_length)), _as_text("40 m")
]
Speed = Annotated[
    float, Field(gt=0, le=400), BeforeValidator(_checked(parse_speed)), _as_text("1.4 m/s")
]
Level = Annotated[
    float, Field(ge=0, le=60), BeforeValidator(_checked(parse_level)), _as_text("15 dBm")
]
Place = Annotated[
    tuple[float, float], BeforeValidator(_checked(parse_place)), _as_text("20 m, 5 m")
]
