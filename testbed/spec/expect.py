# SPDX-License-Identifier: Apache-2.0
"""What an experiment's numbers are expected to be, which makes it a test."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.spec.section import Section

_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_BOUND = re.compile(rf"\s*(?P<way><=|>=|<|>)\s*(?P<number>{_NUMBER})\s*", re.ASCII)
_RANGE = re.compile(rf"\s*(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})\s*", re.ASCII)


class Bounds(NamedTuple):
    """Where a number is to be.

    Attributes:
        text: as it was written.
        low, high: the ends; None: there is none.
        is_strict: whether the ends themselves do not do.
    """

    text: str
    low: float | None
    high: float | None
    is_strict: bool


def parse_bounds(value: object) -> Bounds:
    """Return the bounds in a text such as "> 8", "<= 0.5" or "8 .. 10".

    Raises:
        ValueError: it is none of these, or a range ends below its beginning.
    """
    if not isinstance(value, str):
        raise ValueError('write a comparison in quotes, such as "> 8" or "8 .. 10"')
    text = " ".join(value.split())
    if match := _BOUND.fullmatch(value):
        number, way = float(match["number"]), match["way"]
        low, high = (number, None) if ">" in way else (None, number)
        return Bounds(text, low, high, is_strict="=" not in way)
    if match := _RANGE.fullmatch(value):
        least, most = float(match["low"]), float(match["high"])
        if most < least:
            raise ValueError(f'"{text}" ends below its beginning; write the smaller value first')
        return Bounds(text, least, most, is_strict=False)
    raise ValueError(f'"{text}" is not a comparison; write it as "> 8", "<= 0.5" or "8 .. 10"')


Comparison = Annotated[
    Any,
    BeforeValidator(parse_bounds),
    WithJsonSchema({"type": "string", "examples": ["> 8"]}),
]


class ExpectSpec(Section):
    """What a number of every cell, or of some, is expected to be; else the call ends with 1.

    A run that is not valid or suspect has no number, and a cell without numbers does not meet it.
    """

    number: str = Field(description="of a run, as `testbed analyze --csv` names it")
    is_: Comparison = Field(
        alias="is", description="`> 8`, `>= 8`, `< 8`, `<= 8` or `8 .. 10`, in quotes"
    )
    of: Literal["median", "mean", "least", "greatest"] = Field(
        "median", description="which of the numbers of a cell's runs"
    )
    where: dict[str, Any] = Field(
        {}, description="values by dotted key, of the cells that are meant; default: all"
    )
    relative_to: dict[str, Any] = Field(
        {},
        description="values by dotted key: the number is divided by that of the cell with these",
    )
