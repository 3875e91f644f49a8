"""The audit in the admin: to look at, in words; the codes stand beside them for who searches."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin, json_in_lines
from terminals.common.audit.models import AuditEntry
from terminals.common.words import word

NAMES = {model._meta.model_name: model for model in apps.get_models()}


def named(kind: str) -> str:
    """Return what a kind of object is called in the reader's language; one that is no model's by its own word."""
    model: Any = NAMES.get(kind)
    return str(model._meta.verbose_name) if model else word(kind)


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    list_display = ["at", "actor", "what", "whom", "action", "subject"]
    fields = ["at", "actor", "what", "whom", "action", "subject", "values"]
    search_fields = ["=actor", "=subject", "=action"]

    @admin.display(description=_("what"))
    def what(self, entry: AuditEntry) -> str:
        kind, _dot, verb = entry.action.partition(".")
        return f"{named(kind)}: {word(verb)}" if verb else word(kind)

    @admin.display(description=_("whom"))
    def whom(self, entry: AuditEntry) -> str:
        kind, _colon, key = entry.subject.partition(":")
        return f"{named(kind)} {key}"

    @admin.display(description=_("values"))
    def values(self, entry: AuditEntry) -> str:
        return json_in_lines(entry.detail)
