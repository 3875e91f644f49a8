"""What the API remembers of requests."""

from django.db import models
from django.db.models.functions import Now


class IdempotentResponse(models.Model):
    """The answer to a POST that carried an Idempotency-Key, kept so that a repeat gets it again and does nothing."""

    actor_id = models.BigIntegerField(help_text="The user's id: a name may pass to another person")
    idempotency_key = models.CharField(max_length=100)
    request_digest = models.CharField(max_length=64, help_text="SHA-256 of path and content")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"])]
        constraints = [
            models.UniqueConstraint(fields=["actor_id", "idempotency_key"], name="idempotency_key_once_per_actor")
        ]

    def __str__(self) -> str:
        return self.idempotency_key
