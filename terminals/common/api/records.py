"""The audit and the facts in the API: to look at."""

from typing import Any

from rest_framework import serializers

from terminals.common.api.base import ReadViewSet
from terminals.common.api.serializers import ModelSerializer
from terminals.common.audit.models import AuditEntry


class AuditEntrySerializer(ModelSerializer[AuditEntry]):
    """`position` and `hash` are the entry's place in the chain; null until it is sealed, a second after its commit."""

    position = serializers.SerializerMethodField()
    hash = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "action", "subject", "detail", "position", "hash"]

    def get_position(self, entry: AuditEntry) -> int | None:
        return entry.seal.position if hasattr(entry, "seal") else None

    def get_hash(self, entry: AuditEntry) -> str | None:
        return entry.seal.hash if hasattr(entry, "seal") else None


class TimelineSerializer(serializers.Serializer[Any]):
    """What happened to a terminal: `body` is the data, `text` its words in the caller's language."""

    at = serializers.DateTimeField()
    kind = serializers.CharField()
    text = serializers.CharField()
    state = serializers.CharField(allow_blank=True)
    body = serializers.DictField()


class AuditViewSet(ReadViewSet):
    queryset = AuditEntry.objects.select_related("seal")
    serializer_class = AuditEntrySerializer
    filterset_fields = ["actor", "action", "subject"]
