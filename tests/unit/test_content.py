# SPDX-License-Identifier: Apache-2.0
"""The file that is downloaded."""

import hashlib

import pytest

from testbed import content


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1])
def test_size_and_hash_are_those_of_the_blocks(size):
    data = b"".join(content.blocks(1, size))
    assert len(data) == size
    assert content.sha256(1, size) == hashlib.sha256(data).hexdigest()


def test_content_follows_from_the_seed():
    assert list(content.blocks(1, 100)) == list(content.blocks(1, 100))
    assert list(content.blocks(1, 100)) != list(content.blocks(2, 100))


def test_blocks_differ():
    """A block that came twice would not show a lost megabyte."""
    assert len({bytes(block[:16]) for block in content.blocks(1, 3 * 2**20)}) == 3


def test_hash_stays_what_it_is():
    """The hash is in run.json, so another version of Python or the testbed must not change it."""
    assert content.sha256(1, 1000) == HASH_OF_SEED_1_1000_BYTES


HASH_OF_SEED_1_1000_BYTES = "d28cecbfa250232c0faf8a2f636b46add98451ba933a638f5a45c6229307ba97"
