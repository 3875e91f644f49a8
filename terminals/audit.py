"""The audit chain: who did what to which object, in the order of commits, in a chain that shows every later change.

`record` belongs into the transaction of the action it tells of. Entries are linked by
SHA-256 over the previous hash and the entry's canonical JSON (RFC 8785); an advisory lock held until commit keeps two
operators from linking to the same predecessor.
"""

import hashlib
from datetime import UTC
from typing import Any

import rfc8785
from django.db import connection
from django.utils import timezone

from terminals.models import AuditEntry

CHAIN_LOCK = 0x7417_A0D1
GENESIS = "0" * 64


def record(*, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None) -> AuditEntry:
    """Append one entry. Must run inside a transaction; raises RuntimeError otherwise."""
    if not connection.in_atomic_block:
        raise RuntimeError("an audit entry must be written in the transaction of the action it tells of")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
    previous = AuditEntry.objects.order_by("-id").values_list("hash", flat=True).first() or GENESIS
    entry = AuditEntry(
        at=timezone.now(), actor=actor, action=action, subject=subject, detail=detail or {}, previous_hash=previous
    )
    entry.hash = entry_hash(entry)
    entry.save(force_insert=True)
    return entry


def entry_hash(entry: AuditEntry) -> str:
    """Return the hex SHA-256 that links `entry` to its predecessor."""
    body = {
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "previous": entry.previous_hash,
    }
    return hashlib.sha256(rfc8785.dumps(body)).hexdigest()


def first_broken_entry() -> AuditEntry | None:
    """Walk the whole chain; return the first entry that does not fit, or None where all do."""
    previous = GENESIS
    for entry in AuditEntry.objects.order_by("id").iterator(chunk_size=2000):
        if entry.previous_hash != previous or entry.hash != entry_hash(entry):
            return entry
        previous = entry.hash
    return None
