# SPDX-License-Identifier: Apache-2.0
"""Option types for lists of numbers: "0,1,2", "1..8", "10%..100%"."""

import re
from fractions import Fraction

import click

# A range of percentages goes up by so much.
PERCENT_STEP = 10
_NUMBER = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(%?)", re.ASCII)


class Counts(click.ParamType[list[int]]):
    """Whole numbers: "1,2,4" or "1..8"."""

    name = "n[,n...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Return the numbers, each once, in their order."""
        if isinstance(value, list):
            return value
        found: list[int] = []
        for part in str(value).split(","):
            low, dots, high = part.strip().partition("..")
            ends = [low.strip(), (high if dots else low).strip()]
            if not all(re.fullmatch(r"\d{1,6}", end, re.ASCII) for end in ends):
                self.fail(f'"{part.strip()}" is no whole number or range such as 1..8', param, ctx)
            numbers = range(int(ends[0]), int(ends[1]) + 1)
            if not numbers:
                self.fail(f'"{part.strip()}" ends below its beginning', param, ctx)
            found += numbers
        return list(dict.fromkeys(found))


class Fractions(click.ParamType[list[float]]):
    """Fractions above 0 and up to 1: "0.5", "25%", "10%..100%" in steps of 10 %."""

    name = "fraction[,fraction...]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """Return the fractions, each once, in their order."""
        if isinstance(value, list):
            return value
        found: list[Fraction] = []
        for part in str(value).split(","):
            low, dots, high = (text.strip() for text in part.partition(".."))
            ends = [self._fraction(text, param, ctx) for text in ([low, high] if dots else [low])]
            step = Fraction(PERCENT_STEP, 100)
            if ends[-1] < ends[0]:
                self.fail(f'"{part.strip()}" ends below its beginning', param, ctx)
            count = int((ends[-1] - ends[0]) / step) + 1
            found += [ends[0] + number * step for number in range(count)]
        return [float(fraction) for fraction in dict.fromkeys(found)]

    def _fraction(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        match = _NUMBER.fullmatch(text)
        fraction = Fraction(match[1]) / (100 if match[2] else 1) if match else Fraction(0)
        if not 0 < fraction <= 1:
            self.fail(
                f'"{text}" is not a fraction of the servers above 0 and up to 1, '
                "such as 0.5 or 50%",
                param,
                ctx,
            )
        return fraction


COUNTS, FRACTIONS = Counts(), Fractions()
