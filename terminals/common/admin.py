"""The audit in the admin: to look at."""

from django.contrib import admin

from terminals.common.admin_base import RecordAdmin
from terminals.common.audit.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    list_display = ["at", "actor", "action", "subject"]
    search_fields = ["=actor", "=subject", "=action"]
