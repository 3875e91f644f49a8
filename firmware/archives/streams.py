"""Compressed content as it comes out, a chunk at a time: however small the file, no more is in memory than a chunk."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol

import zstandard

from firmware.archives.bounds import CHUNK_BYTES, Meter, broken

MOST_MEMORY_BYTES = 2**27  # for what a decompressor keeps to look back at; xz -9 wants 65 MiB
ZSTD_STEP_BYTES = 1024
MAGIC = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def compression_of(head: bytes) -> str:
    """Return how a file is compressed; nothing where it is not, or not in a way that is known here."""
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")


class Readable(Protocol):
    """As much of a file as is wanted here."""

    def read(self, count: int = ..., /) -> bytes: ...


class Engine(Protocol):
    """A decompressor of the standard library (bz2 and lzma are such by themselves)."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Deflate:
    """zlib's in the shape of the others; `window_bits`: 31 for gzip, -15 for a member of a zip file."""

    def __init__(self, window_bits: int) -> None:
        self._engine, self.needs_input = zlib.decompressobj(window_bits), True

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        came = self._engine.decompress(self._engine.unconsumed_tail + data, max_length)
        self.needs_input = not self._engine.unconsumed_tail and len(came) < max_length
        return came


class Zstd:
    """zstandard's in the shape of the others. It cannot be told how much may come out at once, so little is put in: a block of 4
    bytes makes 128 KiB of them."""

    def __init__(self) -> None:
        self._engine = zstandard.ZstdDecompressor(max_window_size=MOST_MEMORY_BYTES).decompressobj()
        self._waiting = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data + bytes(self._waiting)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        waiting = memoryview(data) if data else self._waiting
        self._waiting = waiting[ZSTD_STEP_BYTES:]
        return self._engine.decompress(waiting[:ZSTD_STEP_BYTES])


ENGINES: dict[str, Callable[[], Engine]] = {
    "gzip": lambda: Deflate(31),
    "deflate": lambda: Deflate(-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY_BYTES),
    "zstd": Zstd,
}
FAILURES = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError, EOFError)


def expanded(file: Readable, kind: str, meter: Meter) -> Iterator[bytes]:
    """Yield what a compressed file holds, in chunks; what follows its last stream (padding, a vendor's signature) is left alone.

    Raises Refusal where it is too much, damaged, or has no end.
    """
    try:
        for chunk in _streams(file, kind):
            meter.take(len(chunk), kind)
            yield chunk
    except FAILURES as error:
        raise broken(f"{kind}: {error}"[:200]) from None


def _streams(file: Readable, kind: str) -> Iterator[bytes]:
    """One stream after another, as long as the next one begins like one."""
    engine, data = ENGINES[kind](), b""
    while True:
        if engine.eof:
            data = engine.unused_data or file.read(CHUNK_BYTES)
            if len(data) < 8:
                data += file.read(CHUNK_BYTES)
            if compression_of(data) != kind:
                return
            engine = ENGINES[kind]()
        elif engine.needs_input and not data:
            data = file.read(CHUNK_BYTES)
            if not data:
                raise EOFError("it ends too early")
        chunk = engine.decompress(data, CHUNK_BYTES)
        data = b""
        if chunk:
            yield chunk


def plain(file: IO[bytes]) -> "Sequence":
    """Return a file's bytes as they are."""
    return Sequence(iter(lambda: file.read(CHUNK_BYTES), b""))


class Sequence:
    """Chunks read on and on as one file is, with no way back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""

    def peek(self, count: int) -> bytes:
        """Return the next bytes without taking them: fewer at the end."""
        while len(self._held) < count and (chunk := next(self._chunks, b"")):
            self._held += chunk
        return self._held[:count]

    def read(self, count: int) -> bytes:
        """Return so many bytes; fewer at the end."""
        came = self.peek(count)
        self._held = self._held[len(came) :]
        return came

    def skip(self, count: int) -> bool:
        """Leave bytes out; return whether there were so many."""
        while count > len(self._held):
            count -= len(self._held)
            self._held = next(self._chunks, b"")
            if not self._held:
                return False
        self._held = self._held[count:]
        return True

    def skip_rest(self) -> None:
        self._held = b""
        for _chunk in self._chunks:
            pass
