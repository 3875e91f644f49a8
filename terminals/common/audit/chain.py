"""The hash chain over the audit: entries are sealed as they are committed, within a second, by one sealer at a time; by id
within each pass.

A seal's hash is SHA-256 over the hash before it and the entry as the **database** returns it (its detail as the text of
the jsonb), so that whatever could be stored can be hashed. Anchors, signed and kept outside the database, show that a
chain was cut or rewritten as a whole.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import rfc8785
from django.db import connection, transaction
from django.utils import timezone

from terminals.common.audit.models import AuditEntry, AuditSeal

SEALER_LOCK = 0x7417_A0D1
GENESIS = "0" * 64
CHUNK = 5000


class Stored(NamedTuple):
    """An entry as the database returns it; all but the position None where it is gone."""

    entry_id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str


class Report(NamedTuple):
    """What a walk found: how many are sealed, the last hash, the first place that does not fit, what is not sealed."""

    sealed: int
    last_hash: str
    broken: str
    unsealed: int


def entry_hash(entry: Stored, previous: str) -> str:
    """Return the hex SHA-256 that links an entry to the hash before it. All members are text: it cannot fail."""
    body = {**entry._asdict(), "entry_id": str(entry.entry_id), "previous": previous}
    body["at"] = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(rfc8785.dumps(body)).hexdigest()


# Raw: the ORM cannot delete with a limit and return, nor read a jsonb as the text that it is.
TAKE_UNSEALED = """
WITH taken AS (
    DELETE FROM common_unsealedentry
     WHERE entry_id IN (SELECT entry_id FROM common_unsealedentry ORDER BY entry_id LIMIT %s) RETURNING entry_id
)
SELECT e.id, e.at, e.actor, e.action, e.subject, e.detail::text
  FROM common_auditentry e JOIN taken ON taken.entry_id = e.id ORDER BY e.id
"""


@transaction.atomic
def seal() -> int:
    """Seal what was committed since the last time; return how many. Where another sealer is at work, do nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEALER_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(TAKE_UNSEALED, [CHUNK])
        entries = [Stored(*row) for row in cursor.fetchall()]
    last = AuditSeal.objects.order_by("-position").first()
    position, previous, now = (last.position, last.hash, timezone.now()) if last else (0, GENESIS, timezone.now())
    seals = []
    for place, entry in enumerate(entries, start=position + 1):
        previous = entry_hash(entry, previous)
        seals.append(AuditSeal(position=place, entry_id=entry.entry_id, hash=previous, sealed_at=now))
    AuditSeal.objects.bulk_create(seals)
    return len(seals)


def verify(expected: dict[int, str]) -> Report:
    """Walk the whole chain; `expected` holds hashes by position that anchors or the caller know of."""
    count, previous, broken = 0, GENESIS, ""
    for position, found, entry in _walk():
        if position != count + 1:
            broken = f"position {count + 1} is missing"
        elif entry is None:
            broken = f"the entry at position {position} is gone"
        elif entry_hash(entry, previous) != found:
            broken = f"entry {entry.entry_id} at position {position} was changed"
        elif expected.get(position, found) != found:
            broken = f"position {position} is not what an anchor says: the chain was rewritten"
        if broken:
            break
        count, previous = position, found
    if not broken and max(expected, default=0) > count:
        broken = f"the chain ends at position {count}; an anchor knows of {max(expected)}: its tail was cut"
    return Report(count, previous, broken, AuditEntry.objects.filter(seal=None).count())


WALK = """
SELECT s.position, s.hash, e.id, e.at, e.actor, e.action, e.subject, e.detail::text
  FROM common_auditseal s LEFT JOIN common_auditentry e ON e.id = s.entry_id
 WHERE s.position > %s ORDER BY s.position LIMIT %s
"""


def _walk() -> Iterator[tuple[int, str, Stored | None]]:
    last = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(WALK, [last, CHUNK])
            rows = cursor.fetchall()
        for position, found, *columns in rows:
            yield position, found, None if columns[0] is None else Stored(*columns)
            last = position
        if not rows:
            return
