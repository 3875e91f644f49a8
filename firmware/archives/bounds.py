"""How much an archive may hold and what its members may be called: the same for every kind."""

import re
from collections import Counter
from posixpath import dirname

from terminals.common.errors import Refusal

CHUNK_BYTES = 64 * 1024
MAX_EXPANDED_BYTES = 2 * 10**9  # twice the largest file that is taken, and more than terminals have room for
MAX_MEMBERS = (
    100_000  # an Android package has 30,000 at most, a whole Linux 60,000; each costs whoever unpacks it a file
)
MAX_NAME_LENGTH = 1024  # no file system takes more than 4096 bytes of a path
MAX_RATIO = 250  # what was made as a bomb has 1000 and more; images of empty disks are not far below this
RATIO_FROM_BYTES = 64 * 1024 * 1024  # less than that does no harm, however small it was
# Of these so much is looked at as takes half a minute at most on a slow machine: 5 and 20 MB come out in a second.
SLOW_BYTES = {"bzip2": 150 * 10**6, "xz": 500 * 10**6}
DRIVE = re.compile(r"[A-Za-z]:")


class Meter:
    """What came out of an archive so far."""

    def __init__(self, archive_bytes: int) -> None:
        self._archive_bytes, self._expanded_bytes, self._members = archive_bytes, 0, 0
        self._by_kind: Counter[str] = Counter()

    def take(self, size_bytes: int, kind: str = "") -> None:
        """Count bytes that came out of a compression, or that a member would have; raise Refusal where they are too many."""
        self._expanded_bytes += size_bytes
        self._by_kind[kind] += size_bytes
        if kind in SLOW_BYTES and self._by_kind[kind] > SLOW_BYTES[kind]:
            raise Refusal(
                "archive_slow",
                "more than %(most)s bytes are packed by %(kind)s, which takes long to look into; pack it by zstd or gzip",
                most=SLOW_BYTES[kind],
                kind=kind,
            )
        if self._expanded_bytes > MAX_EXPANDED_BYTES:
            raise Refusal(
                "archive_bomb",
                "what is packed in the file has more than %(most)s bytes; take out what terminals do not need",
                most=MAX_EXPANDED_BYTES,
            )
        if self._expanded_bytes > max(RATIO_FROM_BYTES, MAX_RATIO * self._archive_bytes):
            raise Refusal(
                "archive_bomb",
                "what is packed in the file is more than %(ratio)s times as large as the file; pack it without the empty parts",
                ratio=MAX_RATIO,
            )

    def count(self) -> None:
        """Count a member."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise too_many()


def too_many() -> Refusal:
    return Refusal("archive_bomb", "more than %(most)s files are packed in the file; pack fewer", most=MAX_MEMBERS)


class Names:
    """The members of one archive by name; none may lie outside of the folder in which it is unpacked."""

    def __init__(self) -> None:
        self._links: set[str] = set()

    def take(self, name: str) -> str:
        """Return a member's name without the parts that mean nothing; raise Refusal for one that could be written elsewhere."""
        if len(name) > MAX_NAME_LENGTH:
            raise Refusal(
                "archive_path", "the file packed as %(name)s has too long a name; shorten it", name=shown(name)
            )
        parts = _parts(name)
        if _foreign(name) or ".." in parts:
            raise Refusal(
                "archive_path",
                "%(name)s leads out of the folder in which the file is unpacked; pack it anew, with plain relative names",
                name=shown(name),
            )
        plain = above = "/".join(parts)
        while self._links and (above := dirname(above)):
            if above in self._links:
                raise Refusal(
                    "archive_path",
                    "%(name)s would be unpacked through a symbolic link; pack it anew, with the folder itself",
                    name=shown(name),
                )
        return plain

    def take_link(self, name: str, target: str) -> None:
        """Note a symbolic link; raise Refusal where it leads outside. It may go up only at its beginning and no further than it
        lies deep: what goes up later could do so from wherever another link leads."""
        plain, parts = self.take(name), _parts(target)
        up = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        if _foreign(target) or ".." in parts[up:] or up > plain.count("/"):
            raise Refusal(
                "archive_path",
                "%(name)s is a link that leads out of the folder in which the file is unpacked; pack it anew without it",
                name=shown(name),
            )
        self._links.add(plain)


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _foreign(name: str) -> bool:
    return name.startswith("/") or "\\" in name or "\0" in name or DRIVE.match(name) is not None


def shown(name: str) -> str:
    """Return a member's name as a sentence can hold it."""
    return ascii(name[:100])


def broken(why: str) -> Refusal:
    """Return the refusal of what cannot be read to its end; `why` is for whoever packed it."""
    return Refusal("archive_broken", "the file is damaged (%(why)s); make it anew and upload it again", why=why)
