# SPDX-License-Identifier: Apache-2.0
"""The file that is downloaded: bytes that follow from a seed, so that both ends know its hash."""

import hashlib
import random
from collections.abc import Iterator

BLOCK_BYTES = 2**20


def blocks(seed: int, size_bytes: int) -> Iterator[bytes]:
    """Yield the file in blocks of 1 MiB, the last one shorter."""
    for number, start in enumerate(range(0, size_bytes, BLOCK_BYTES)):
        generator = random.Random(f"{seed}:{number}")
        yield generator.randbytes(min(BLOCK_BYTES, size_bytes - start))


def sha256(seed: int, size_bytes: int) -> str:
    """Return the hexadecimal SHA-256 of the whole file."""
    digest = hashlib.sha256()
    for block in blocks(seed, size_bytes):
        digest.update(block)
    return digest.hexdigest()
