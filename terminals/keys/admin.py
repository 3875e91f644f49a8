"""Keys in the admin: check values and states. Sealed material is not shown either."""

from django.contrib import admin

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.keys.models import KeyRequirement, TerminalKey


@admin.register(TerminalKey)
class TerminalKeyAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = ["created_at", "terminal", "usage", "algorithm", "kcv", "shown_state", "answered_kcv"]
    list_filter = ["state", "usage"]
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    search_whole = ("kcv",)
    exclude = ["sealed_key"]


@admin.register(KeyRequirement)
class KeyRequirementAdmin(AuditedAdmin):
    list_display = ["model", "usage"]
    list_select_related = ["model"]
