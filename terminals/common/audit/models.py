"""Audit entries, their seals, and the queue between them. Database triggers let entries and seals only grow."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models


class AuditEntry(models.Model):
    """One operator action on one object, written in the action's own transaction."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=150, help_text="kind:id of what was acted upon")
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    place = models.CharField(
        max_length=200,
        default="",
        editable=False,
        db_collation="C",
        help_text="Where the object stood in the tree; set by the database, and no part of the chain",
    )

    placed_by = "place"

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["subject", "-id"], name="audit_by_subject"),
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["place"], name="audit_by_place"),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"


class AuditSeal(models.Model):
    """An entry's place in the chain: positions run from 1 without a gap, each hash covers the one before it."""

    position = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, related_name="seal", db_constraint=False)
    hash = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.position}: {self.hash[:12]}"


class UnsealedEntry(models.Model):
    """An entry that waits for the sealer; a trigger writes it with the entry."""

    entry_id = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return str(self.entry_id)
