# SPDX-License-Identifier: Apache-2.0
"""Option types that several commands share: quantities with units."""

from collections.abc import Callable

import click

from testbed.errors import SpecError
from testbed.units import parse_duration, parse_memory, parse_size


class Quantity(click.ParamType[float]):
    """A text with a unit that becomes a number.

    Args:
        name: what `--help` calls it.
        parse: text to number; raises SpecError.
    """

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with the sentence of the SpecError."""
        if isinstance(value, int | float):
            return value
        try:
            return self._parse(str(value))
        except SpecError as error:
            self.fail(str(error), param, ctx)


DURATION = Quantity("duration", parse_duration)
MEMORY = Quantity("memory", parse_memory)
SIZE = Quantity("size", parse_size)
