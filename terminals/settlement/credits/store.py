"""A credit file's bytes while it is being read: sealed pieces in the database, so that any worker on any host can read them."""

import hashlib
import io
from typing import Any, BinaryIO

from terminals.common import vault
from terminals.common.errors import Refusal
from terminals.settlement.credits.models import CreditChunk, CreditFile

PIECE = 1024 * 1024
MOST_BYTES = 256 * 1024 * 1024


def bound_to(file_id: int, number: int) -> str:
    """Return what a sealed piece is bound to."""
    return f"credit-file:{file_id}:{number}"


def digest_of(file: BinaryIO) -> tuple[str, int]:
    """Return a file's SHA-256 and its size; raise Refusal for one that is empty or too large."""
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise Refusal("too_large", "a file has at most %(most)s MB", most=MOST_BYTES >> 20)
    if not size:
        raise Refusal("no_rows", "the file is empty")
    return digest.hexdigest(), size


def keep(job: CreditFile, file: BinaryIO) -> None:
    """Put a file aside, piece by piece."""
    file.seek(0)
    for number in range(MOST_BYTES // PIECE + 1):
        piece = file.read(PIECE)
        if not piece:
            return
        sealed = vault.seal(piece, bound_to=bound_to(job.pk, number))
        CreditChunk.objects.create(file=job, number=number, sealed=sealed)


class Pieces(io.RawIOBase):
    """The bytes of a file that was put aside, one piece in memory at a time; `taken` is how many were read."""

    def __init__(self, job: CreditFile) -> None:
        super().__init__()
        self._job, self._number, self._rest = job, 0, b""
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            kept = CreditChunk.objects.filter(file=self._job, number=self._number).first()
            if kept is None:
                return 0
            self._rest = vault.unseal(bytes(kept.sealed), bound_to=bound_to(self._job.pk, self._number))
            self._number += 1
        length = min(len(buffer), len(self._rest))
        buffer[:length], self._rest = self._rest[:length], self._rest[length:]
        self.taken += length
        return length


def opened(pieces: Pieces) -> BinaryIO:
    return io.BufferedReader(pieces, PIECE)


def forget(job: CreditFile) -> None:
    CreditChunk.objects.filter(file=job).delete()
