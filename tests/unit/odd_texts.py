# SPDX-License-Identifier: Apache-2.0
"""Texts that nobody would write, for Hypothesis."""

from hypothesis import strategies as st

# Controls, Latin, other digits, line ends of Unicode, a byte order mark, half a pair, an emoji:
# a list, because Hypothesis takes seconds to prepare for all of Unicode.
CHARACTERS = [chr(number) for number in range(0x180)] + list("²٣৩\u2028\ufeff\ufffe\ud800😀")


def odd_texts(max_size: int) -> st.SearchStrategy[str]:
    """Return a strategy for texts of up to so many characters."""
    return st.text(st.sampled_from(CHARACTERS), max_size=max_size)
