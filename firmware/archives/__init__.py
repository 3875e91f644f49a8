"""What an uploaded release may be: anything but a trap for whoever unpacks it, and what is plainly no software.

Vendors have formats of their own, so bytes that are not known here are let through. Zip files (with apk, jar, whl) and tar files
(plain, or in gzip, bzip2, xz or zstd) are looked into: one pass, nothing unpacked to disk, and no size is believed
that a header states. Memory: a few MiB, and what the decompressor looks back at (128 MiB at most). Pure.
"""

from typing import IO

from firmware.archives import known, streams, tars, zips
from firmware.archives.bounds import CHUNK_BYTES, Meter


def check(file: IO[bytes]) -> None:
    """Let a file pass, or raise Refusal: `not_software`, `private_key`, `archive_bomb`, `archive_slow`, `archive_path`,
    `archive_encrypted` or `archive_broken`. The file must be seekable; it is at its beginning afterwards."""
    size_bytes = file.seek(0, 2)
    file.seek(0)
    head = file.read(CHUNK_BYTES)
    file.seek(0)
    known.refuse_other_kinds(head)
    if zips.is_zip(head):
        zips.check(file, size_bytes)
    elif tars.is_tar(head):
        tars.check(streams.plain(file), Meter(size_bytes))
    elif kind := streams.compression_of(head):
        _check_compressed(file, kind, Meter(size_bytes))
    file.seek(0)


def _check_compressed(file: IO[bytes], kind: str, meter: Meter) -> None:
    """What is in it is a tar file, or opaque again: then it must only have an end."""
    content = streams.Sequence(streams.expanded(file, kind, meter))
    if tars.is_tar(content.peek(tars.BLOCK_BYTES)):
        tars.check(content, meter)
    content.skip_rest()
