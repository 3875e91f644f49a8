"""Binary deltas: what changed between two releases, made in the background and checked before it is offered.

zstd with the old file as its dictionary ("patch from"), level 12: of two Django wheels it leaves 11 per cent in a quarter of a
second, as bsdiff does in ten times as long. A terminal makes the new file of the old one and the delta, and holds it against the
same digest of the repository as a whole download; where that fails it fetches the whole.
"""

import io
import logging
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import zstandard
from django.core.files import File
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q

from firmware import digests
from firmware.models import Installation, InstalledSoftware, Release, ReleaseDelta
from firmware.rules import OFFERED, OPEN, is_older
from firmware.selectors import ids_of, moving_campaigns
from terminals.common.sql import direct_session, id_set
from terminals.link.protocol.messages.software import Delta

logger = logging.getLogger(__name__)
LEVEL = 12
WORTH_PERCENT = 60  # of the whole file; a larger delta is not worth its trouble
# Old and new file together: so much memory a terminal needs to apply it, and zstd's own limit for whoever sets no other.
MOST_BYTES = 2**27
BASES = 10  # from so many earlier releases at most


def make(old: bytes, new: bytes) -> bytes:
    """Return the delta that makes the new file of the old one."""
    window = max(10, math.ceil(math.log2(len(old) + len(new) + 1)))
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=window, enable_ldm=True, write_content_size=True
    )
    return zstandard.ZstdCompressor(dict_data=_dictionary(old), compression_params=parameters).compress(new)


def apply(old: bytes, delta: bytes, size_bytes: int) -> bytes:
    """Return the new file, of which it is known how large it is; raise ValueError for a delta that makes anything else of it."""
    whole = zstandard.ZstdDecompressor(dict_data=_dictionary(old), max_window_size=MOST_BYTES)
    try:
        with whole.stream_reader(io.BytesIO(delta)) as reader:
            new = reader.read(size_bytes + 1)
    except zstandard.ZstdError as error:
        raise ValueError(f"the delta does not apply: {error}") from None
    if len(new) != size_bytes:
        raise ValueError(f"the delta makes {len(new)} bytes or more, not {size_bytes}")
    return new


def _dictionary(old: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


# --- which are made --------------------------------------------------------------------------------------------------
class Pair(NamedTuple):
    """A delta that is wanted."""

    old: Release
    new: Release


def wanted() -> Iterable[Pair]:
    """Yield the deltas that are missing: to releases that are being sent, from earlier ones of the same package and platform that
    terminals run. The statements grow with the releases under way, not with the fleet."""
    under_way = Installation.objects.filter(release=OuterRef("pk"), state__in=OPEN)
    moved = {pk for arguments in moving_campaigns().values_list("arguments", flat=True) for pk in ids_of(arguments)}
    sent = Release.objects.filter(
        Q(Exists(under_way)) | Q(pk__in=moved), state__in=OFFERED, listed_at__isnull=False
    ).select_related("package")
    for new in sent.filter(size_bytes__lt=MOST_BYTES):
        runs = InstalledSoftware.objects.filter(component=new.package.component, version=OuterRef("version"))
        made = ReleaseDelta.objects.filter(old=OuterRef("pk"), new=new)
        earlier = Release.objects.filter(Exists(runs), ~Exists(made), package=new.package, platform=new.platform)
        room = BASES - ReleaseDelta.objects.filter(new=new).count()  # a terminal reports what it likes
        bases = (old for old in earlier.select_related("package") if is_older(old.version, new.version))
        for old in islice(bases, max(room, 0)):
            if old.size_bytes + new.size_bytes <= MOST_BYTES:
                yield Pair(old, new)


def make_missing() -> int:
    """Make the deltas that are missing, each checked; return how many. What is not worth it is noted, and not tried again; a pair
    that cannot be made holds up no other. One process at a time: the others come back later."""
    with direct_session() as session:  # its lock ends with it
        held = session.execute("SELECT pg_try_advisory_lock(hashtextextended('release deltas', 0))").fetchone()
        return sum(_make_one(pair) for pair in wanted()) if held and held[0] else 0


def _make_one(pair: Pair) -> int:
    try:
        old, new = (_content(one) for one in pair)
        delta = make(old, new)
        good = apply(old, delta, len(new)) == new and len(delta) * 100 <= WORTH_PERCENT * len(new)
        return _keep(pair, delta if good else b"")
    except (OSError, ValueError, zstandard.ZstdError, MemoryError) as error:
        logger.warning("no delta from %s to %s: %s", pair.old, pair.new, error)
        return 0


def _content(release: Release) -> bytes:
    with release.artifact.open("rb") as file:
        return bytes(file.read())


def _keep(pair: Pair, delta: bytes) -> int:
    size_bytes, sha256 = digests.digest_file(io.BytesIO(delta))
    row = ReleaseDelta(old=pair.old, new=pair.new, size_bytes=size_bytes, sha256=sha256)
    if delta:
        row.artifact = File(io.BytesIO(delta), name=f"{sha256}-{secrets.token_hex(4)}.zst")
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # another worker made the same
        row.artifact.delete(save=False)
        return 0
    return int(bool(delta))


# --- which are offered -----------------------------------------------------------------------------------------------
def offered(release: Release, terminal_ids: Sequence[int]) -> Mapping[int, ReleaseDelta]:
    """Return the delta to a release for each terminal that runs the version before it: two statements."""
    deltas = {
        delta.old.version: delta
        for delta in ReleaseDelta.objects.filter(new=release, size_bytes__gt=0).select_related("old")
    }
    if not deltas:
        return {}
    running = InstalledSoftware.objects.filter(
        terminal__in=id_set(terminal_ids), component=release.package.component, version__in=deltas
    )
    return {pk: deltas[version] for pk, version in running.values_list("terminal_id", "version")}


def told(delta: ReleaseDelta, url: str) -> Delta:
    """Return a delta as an install command names it."""
    return Delta(url=url, size_bytes=delta.size_bytes, sha256=delta.sha256, from_sha256=delta.old.sha256)
