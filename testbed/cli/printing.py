# SPDX-License-Identifier: Apache-2.0
"""Texts of others on our terminal: an experiment or a machine may be anybody's."""


def printable(text: str) -> str:
    """Return a text in which characters that command a terminal are written out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode()
