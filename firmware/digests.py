"""The digest by which an artifact is known."""

import hashlib
from typing import IO

_CHUNK = 1024 * 1024


def digest_file(file: IO[bytes]) -> tuple[int, str]:
    """Return size in bytes and hex SHA-256 of an open file, and rewind it."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def sha1_of(file: IO[bytes]) -> str:
    """Return the hex SHA-1 of an open file: for clients that know no other."""
    digest = hashlib.sha1(usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
