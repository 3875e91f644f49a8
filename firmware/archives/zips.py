"""Zip files (PKWARE APPNOTE 6.3): the directory at the end, member by member, and then what each member really holds.

zipfile itself would read a directory of any length into memory, and believes what it says.
"""

import stat
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from firmware.archives.bounds import Meter, Names, broken, shown, too_many
from firmware.archives.streams import expanded
from terminals.common.errors import Refusal

_LOCAL, _END = b"PK\x03\x04", b"PK\x05\x06"
_END_RECORD = struct.Struct("<4s4H2LH")  # section 4.3.16
_END64_LOCATOR, _END64_RECORD = struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")  # 4.3.15, 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # 4.3.7
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "look into the zip64 field"
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # of the flags, 4.4.4
_STORED, _METHODS = 0, {8: "deflate", 12: "bzip2", 93: "zstd"}
_UNIX = 3  # of systems on which a file was packed, 4.4.2
MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
MAX_LINK_BYTES = 4096  # of a symbolic link's target


class Member(NamedTuple):
    """An entry of the directory."""

    name: bytes
    flags: int
    method: int
    packed_bytes: int
    size_bytes: int
    offset: int
    is_link: bool

    @property
    def text(self) -> str:
        return self.name.decode("utf-8", "surrogateescape")


def is_zip(head: bytes) -> bool:
    return head.startswith((_LOCAL, _END))


def check(file: IO[bytes], file_bytes: int) -> None:
    """Raise Refusal for a zip file that must not be unpacked, or cannot be."""
    begin, length = _directory(file, file_bytes)
    meter, names, members = Meter(file_bytes), Names(), []
    for member in _entries(file, begin, length):
        meter.count()
        if member.flags & _ENCRYPTED:
            raise Refusal(
                "archive_encrypted",
                "%(name)s is encrypted, so nobody can look at it before it is approved; pack it anew without a password",
                name=shown(member.text),
            )
        names.take(member.text)
        members.append(member)
    end = 0
    for member in sorted(members, key=lambda one: one.offset):
        if member.offset < end:
            raise Refusal("archive_bomb", "files that are packed in it share their bytes, as a bomb's do; pack it anew")
        if member.offset > begin:
            raise broken(f"zip: {shown(member.text)} is not where the directory says")
        content = _content_at(file, member)
        end = content + member.packed_bytes
        if end > begin:
            raise broken(f"zip: {shown(member.text)} reaches into the directory")
        target = _check_content(file, content, member, meter)
        if member.is_link:
            names.take_link(member.text, target.decode("utf-8", "surrogateescape"))
    for member in members:  # once more, as now all links are known
        names.take(member.text)


def _directory(file: IO[bytes], file_bytes: int) -> tuple[int, int]:
    """Return where the directory begins and how long it is."""
    tail = min(file_bytes, _END_RECORD.size + _FULL16)
    file.seek(file_bytes - tail)
    ending = file.read(tail)
    at = ending.rfind(_END)
    if at < 0 or len(ending) - at < _END_RECORD.size:
        raise broken("zip: it has no directory")
    count, length, begin = _END_RECORD.unpack_from(ending, at)[4:7]
    here = file_bytes - tail + at
    if _FULL32 in (length, begin) or count == _FULL16:
        length, begin, here = _directory64(file, here) or (length, begin, here)
    if length > MAX_DIRECTORY_BYTES:
        raise too_many()
    if begin + length > here:
        raise broken("zip: its directory does not lie where it should")
    return begin, length


def _directory64(file: IO[bytes], before: int) -> tuple[int, int, int] | None:
    """Return length, begin and the end of the directory of a large file; nothing where there is no such record."""
    if before < _END64_LOCATOR.size:
        return None
    locator = _read(file, before - _END64_LOCATOR.size, _END64_LOCATOR.size)
    magic, _disk, at, _disks = _END64_LOCATOR.unpack(locator)
    if magic != b"PK\x06\x07":
        return None
    record = _read(file, at, _END64_RECORD.size) if at < before else b""  # a place beyond what a file can have
    if not record.startswith(b"PK\x06\x06"):
        raise broken("zip: its directory does not lie where it should")
    length, begin = _END64_RECORD.unpack(record)[8:10]
    return length, begin, at


def _entries(file: IO[bytes], begin: int, length: int) -> Iterator[Member]:
    """Yield the directory's entries; where there are too many, whoever counts them ends it."""
    at, end = begin, begin + length
    while at < end:
        entry = _read(file, at, _ENTRY.size)
        if not entry.startswith(b"PK\x01\x02"):
            raise broken("zip: its directory cannot be read")
        _magic, made_by, _needs, flags, method, _time, _date, _crc, *fields = _ENTRY.unpack(entry)
        packed, size, name, extra, comment, _disk, _inner, attributes, offset = fields
        texts = _read(file, at + _ENTRY.size, name + extra)
        size, packed, offset = _wide(texts[name:], size, packed, offset)
        is_link = made_by >> 8 == _UNIX and stat.S_ISLNK(attributes >> 16)
        yield Member(texts[:name], flags, method, packed, size, offset, is_link)
        at += _ENTRY.size + name + extra + comment


def _wide(extra: bytes, *told: int) -> Iterator[int]:
    """Yield the sizes and the offset of an entry, from its zip64 field where they do not fit into the entry (4.5.3)."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = extra[4 : 4 + length]
        extra = extra[4 + length :]
    for value in told:
        if value == _FULL32:
            if len(wide) < 8:
                raise broken("zip: a size is missing")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        yield value


def _content_at(file: IO[bytes], member: Member) -> int:
    """Return where a member's bytes begin; its own header must bear the directory's name."""
    header = _read(file, member.offset, _LOCAL_HEADER.size)
    fields = _LOCAL_HEADER.unpack(header)
    name, extra = fields[9:11]
    begin = member.offset + _LOCAL_HEADER.size
    if not header.startswith(_LOCAL) or _read(file, begin, name) != member.name:
        raise broken(f"zip: {shown(member.text)} is not where the directory says")
    return int(begin + name + extra)


def _check_content(file: IO[bytes], begin: int, member: Member, meter: Meter) -> bytes:
    """Let what a member holds come out, where it is known how, and hold it against the size that is told of it; return how it
    begins. What is packed in a way that is not known here is only measured by what is told."""
    file.seek(begin)
    content = Part(file, member.packed_bytes)
    if kind := _METHODS.get(member.method, ""):
        head, size_bytes = b"", 0
        for chunk in expanded(content, kind, meter):
            head, size_bytes = head or chunk, size_bytes + len(chunk)
            if size_bytes > member.size_bytes:
                break
    else:
        meter.take(member.size_bytes)
        head = content.read(MAX_LINK_BYTES)
        size_bytes = member.packed_bytes if member.method == _STORED else member.size_bytes
    if size_bytes != member.size_bytes:
        raise broken(f"zip: {shown(member.text)} has not the size that is told of it")
    return head[:MAX_LINK_BYTES]


class Part:
    """So many bytes of a file, from where it stands."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file, self._left = file, size_bytes

    def read(self, count: int = -1, /) -> bytes:
        came = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(came)
        return came


def _read(file: IO[bytes], at: int, count: int) -> bytes:
    """Return so many bytes from a place of the file; raise Refusal where there are fewer."""
    file.seek(at)
    came = file.read(count)
    if len(came) < count:
        raise broken("zip: it ends too early")
    return came
