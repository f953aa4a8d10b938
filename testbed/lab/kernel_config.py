# SPDX-License-Identifier: Apache-2.0
"""What we want of a kernel configuration against what Kconfig made of it.

Kconfig drops a symbol without a word when something it depends on is not set. Such a kernel
builds and boots, and fails in the middle of an experiment; so every wanted symbol is compared.
Pure functions on text.
"""

import re
from collections.abc import Iterable

_SET = re.compile(r"(CONFIG_\w+)=(.*)")
_NOT_SET = re.compile(r"# (CONFIG_\w+) is not set")

# The value of a symbol that is not set, in Kconfig's own words.
NOT_SET = "n"


def parse_config(text: str) -> dict[str, str]:
    """Return the symbols of a .config or of a fragment with their values.

    The last line about a symbol counts, as it does for Kconfig.
    """
    symbols = {}
    for line in map(str.strip, text.splitlines()):
        if match := _SET.fullmatch(line):
            symbols[match[1]] = match[2]
        elif match := _NOT_SET.fullmatch(line):
            symbols[match[1]] = NOT_SET
    return symbols


def join_fragments(fragments: Iterable[str]) -> str:
    """Return one text in which a later fragment overrides an earlier one."""
    return "\n".join(fragment.rstrip("\n") for fragment in fragments) + "\n"


def missing_symbols(wanted: str, actual: str) -> list[str]:
    """Return the lines of a wanted configuration that the actual one does not fulfil.

    A symbol that is wanted "not set" is fulfilled by a configuration that does not know it.
    """
    have = parse_config(actual)
    return sorted(
        f"{symbol}={value}"
        for symbol, value in parse_config(wanted).items()
        if have.get(symbol, NOT_SET) != value
    )
