"""Tar files (POSIX.1-2017 pax, and GNU's), header by header: tarfile itself reads as much of a long name as its header says."""

import tarfile

from firmware.archives.bounds import Meter, Names, broken, shown
from firmware.archives.streams import Sequence
from terminals.common.errors import Refusal

BLOCK_BYTES = 512
MAX_NOTE_BYTES = 64 * 1024  # of a header that tells about the next one: its name, its attributes
_SPECIAL = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE)
_NOTES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_WITHOUT_BYTES = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)


def is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def check(content: Sequence, meter: Meter) -> None:
    """Walk over the members; raise Refusal for what must not be unpacked. What follows the end is left alone."""
    names, notes = Names(), dict[str, str]()
    while (block := content.read(BLOCK_BYTES)) and block != bytes(BLOCK_BYTES):
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            raise broken(f"tar: {error}"[:200]) from None
        meter.count()
        if member.size < 0:
            raise broken("tar: a size below zero")
        if member.type in _NOTES:
            notes |= _note(member, content)
            continue
        member.name = notes.get("path", member.name)
        member.linkname = notes.get("linkpath", member.linkname)
        _check_member(member, names, sparse=any(key.startswith("GNU.sparse") for key in notes))
        size_bytes = _size(notes.get("size"), member)
        notes = {}
        if not content.skip(-(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES):
            raise broken(f"tar: {shown(member.name)} ends too early")


def _check_member(member: tarfile.TarInfo, names: Names, *, sparse: bool) -> None:
    if member.type in _SPECIAL or sparse:  # a sparse one may say that it has any size
        raise Refusal(
            "archive_path",
            "%(name)s is a device, a pipe or a sparse file, which no release may bring; pack it anew without it",
            name=shown(member.name),
        )
    if member.type == tarfile.SYMTYPE:
        names.take_link(member.name, member.linkname)
    else:
        names.take(member.name)
    if member.type == tarfile.LNKTYPE:  # to another member, by its name
        names.take(member.linkname)


def _size(told: str | None, member: tarfile.TarInfo) -> int:
    """Return how many bytes follow a header; a note counts before the header itself, which holds 8 GiB at most."""
    if member.type in _WITHOUT_BYTES:
        return 0
    if told is None:
        return member.size
    if not (told.isascii() and told.isdecimal() and len(told) < 20):
        raise broken("tar: a size that is no number")
    return int(told)


def _note(member: tarfile.TarInfo, content: Sequence) -> dict[str, str]:
    """Return what a header tells about the next one, by its names in pax."""
    if member.size > MAX_NOTE_BYTES:
        raise broken("tar: a name or an attribute that is too long")
    padded = -(-member.size // BLOCK_BYTES) * BLOCK_BYTES
    raw = content.read(padded)
    if len(raw) < padded:
        raise broken("tar: it ends too early")
    raw = raw[: member.size]
    if member.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        name = raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return {"path" if member.type == tarfile.GNUTYPE_LONGNAME else "linkpath": name}
    found = _records(raw)
    if (
        member.type == tarfile.XGLTYPE and {"path", "linkpath", "size"} & found.keys()
    ):  # readers differ in what that means
        raise broken("tar: one name or size for all its files")
    return found


def _records(raw: bytes) -> dict[str, str]:
    """Return pax's records, each `length key=value newline` of the length that it says."""
    found: dict[str, str] = {}
    while raw and raw[0]:
        told, space, _ = raw.partition(b" ")
        length = int(told) if space and told.isdigit() and len(told) < 8 else 0
        key, equals, value = raw[len(told) + 1 : max(length - 1, 0)].partition(b"=")
        if not equals or length > len(raw):
            raise broken("tar: an attribute that cannot be read")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        raw = raw[length:]
    return found
