# SPDX-License-Identifier: Apache-2.0
"""The file that is downloaded: bytes that follow from a seed, so that both ends know its hash."""

import functools
import hashlib
import random
from collections.abc import Iterator

# Where the origin web server has it.
FILE_PATH = "/image"

BLOCK_BYTES = 2**20


def blocks(seed: int, size_bytes: int, first_byte: int = 0) -> Iterator[bytes]:
    """Yield the file from a byte on: blocks of 1 MiB, the first and the last one shorter."""
    for number in range(first_byte // BLOCK_BYTES, -(-size_bytes // BLOCK_BYTES)):
        generator = random.Random(f"{seed}:{number}")
        start = number * BLOCK_BYTES
        block = generator.randbytes(min(BLOCK_BYTES, size_bytes - start))
        yield block[max(first_byte - start, 0) :]


@functools.lru_cache(maxsize=64)
def sha256(seed: int, size_bytes: int) -> str:
    """Return the hexadecimal SHA-256 of the whole file."""
    digest = hashlib.sha256()
    for block in blocks(seed, size_bytes):
        digest.update(block)
    return digest.hexdigest()
