"""Writing the audit: who did what to which object, with old and new values, in the transaction of the action.

Writers do not wait for each other: the entries are linked into the hash chain afterwards (`chain.seal`).
"""

import json
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import NestedObjects
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.utils import timezone, translation


def record(*, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append one entry. Must run inside a transaction; raises RuntimeError otherwise."""
    record_many(actor=actor, action=action, subjects=[subject], detail=detail)


def record_many(*, actor: str, action: str, subjects: Iterable[str], detail: dict[str, Any] | None = None) -> None:
    """Append one entry a subject, all with the same detail, in one statement."""
    _append(actor, action, ((subject, detail or {}) for subject in subjects))


def record_each(*, actor: str, action: str, entries: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Append one entry a (subject, detail), in one statement."""
    _append(actor, action, entries)


def record_deletions(*, actor: str, instances: Iterable[models.Model]) -> None:
    """Audit the end of objects, and of each one that the database deletes with them, with the values that go."""
    going = NestedObjects(using=connection.alias)
    going.collect(list(instances))
    for model, rows in going.data.items():
        if model._meta.auto_created or model is LogEntry:
            continue
        ended = sorted(rows, key=lambda one: str(one.pk))
        entries = ((subject_of(one), {"shown": _shown(one), "old": values_of(one)}) for one in ended)
        _append(actor, f"{model._meta.model_name}.delete", entries)


def _shown(instance: models.Model) -> str:
    """Return an object's name in English: what stands in the audit does not depend on the operator's language."""
    with translation.override("en"):
        # A token's own name is its digest; its key's first letters say more.
        return str(getattr(instance, "token_key", instance))


# Raw: of a thousand entries bulk_create takes a quarter of bulk work's time (bench/bulk.py).
APPEND = """
INSERT INTO common_auditentry (at, actor, action, subject, detail, place)
SELECT %s, %s, %s, subject, detail, ''
  FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (subject text, detail jsonb)) WITH ORDINALITY AS entry(subject, detail, n)
 ORDER BY n
"""


def _append(actor: str, action: str, entries: Iterable[tuple[str, dict[str, Any]]]) -> None:
    if not connection.in_atomic_block:
        raise RuntimeError("an audit entry must be written in the transaction of the action it tells of")
    told = [{"subject": subject, "detail": detail} for subject, detail in entries]
    with connection.cursor() as cursor:
        cursor.execute(APPEND, [timezone.now(), actor, action, json.dumps(told, cls=DjangoJSONEncoder)])


def record_change(*, actor: str, action: str, instance: models.Model, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Audit a plain create, update or delete of an object that has no verb of its own: what changed, from and to."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    detail: dict[str, Any] = {"shown": _shown(instance)}
    for side, values in (("old", old), ("new", new)):
        if values:
            detail[side] = {name: values[name] for name in names if name in values}
    record(actor=actor, action=action, subject=subject_of(instance), detail=detail)


# Columns of other people's models that say nothing or must not be kept.
NEVER_KEPT = ("password", "digest", "token_key", "last_login")


def values_of(instance: models.Model) -> dict[str, Any]:
    """Return an object's columns as they are stored: what the audit keeps as old or new values.

    Large or secret columns name themselves in the model's `not_audited`.
    """
    left_out = (*NEVER_KEPT, *getattr(instance, "not_audited", ()))
    fields = [
        f for f in instance._meta.concrete_fields if f.attname not in left_out and not isinstance(f, models.BinaryField)
    ]
    values = {field.attname: field.value_from_object(instance) for field in fields}
    return {
        name: str(value) if isinstance(value, models.fields.files.FieldFile | ZoneInfo) else value
        for name, value in values.items()
    }


def stored_values(instance: models.Model) -> dict[str, Any]:
    """Return the values that the database holds for an object right now; empty where it holds none."""
    stored = type(instance)._default_manager.filter(pk=instance.pk).first()
    return values_of(stored) if stored is not None else {}


def subject_of(instance: models.Model) -> str:
    """Return the name by which the audit knows an object: `terminal:SN-1`, `merchant:7`."""
    key = getattr(instance, "audit_key", None) or getattr(instance, "token_key", instance.pk)
    return f"{instance._meta.model_name}:{key}"
