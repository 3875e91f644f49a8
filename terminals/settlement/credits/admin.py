"""Credit files, their profiles and entries in the admin. A file has a page of its own (fleet/pages/credits.py)."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.common.words import format_minor
from terminals.settlement.credits.forms import OF_CSV, ProfileForm
from terminals.settlement.credits.models import CreditEntry, CreditFile, CreditProfile


@admin.register(CreditProfile)
class CreditProfileAdmin(AuditedAdmin):
    form = ProfileForm
    list_display = ["name", "organisation", "format"]
    list_select_related = ["organisation"]
    search_fields = ["name"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (None, {"fields": ["organisation", "name", "format", "reference", "fee_percent"]}),
            (_("CSV"), {"fields": OF_CSV}),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = ["organisation", "name", "format"]  # the settings' fields are the form's own
        return super().get_form(request, obj, change=change, **kwargs)


@admin.register(CreditFile)
class CreditFileAdmin(RecordAdmin):
    list_display = [
        "brought_at",
        "shown_file",
        "profile",
        "shown_state",
        "entry_count",
        "other_count",
        "reject_count",
        "brought_by",
        "finished_at",
    ]
    list_display_links = None
    list_before_template = "pages/credits_new.html"
    list_filter = ["state", ("profile", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["profile"]

    @admin.display(description=_("file"))
    def shown_file(self, job: CreditFile) -> str:
        return format_html('<a href="{}">{}</a>', reverse("credit-file", args=[job.pk]), job.file_name)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        if self.get_object(request, object_id) is not None and self.has_view_permission(request):
            return redirect("credit-file", object_id)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer


@admin.register(CreditEntry)
class CreditEntryAdmin(RecordAdmin):
    list_display = ["value_date", "terminal", "batch_number", "shown_state", "net", "fee", "method", "scheme", "file"]
    fields = [
        "file",
        "number",
        "state_in_words",
        "terminal",
        "tid",
        "mid",
        "batch_number",
        "net",
        "fee",
        "value_date",
        "account",
        "is_other_account",
        "reference",
    ]
    readonly_fields = fields
    list_filter = ["state"]
    lookups = ("file", "terminal", "batch_number")  # a file's and a case's pages lead to their entries
    list_select_related = ["terminal", "file"]
    search_fields = ["tid", "terminal__serial"]

    @admin.display(description=_("credited"))
    def net(self, entry: CreditEntry) -> str:
        return format_minor(entry.net_minor, entry.currency)

    @admin.display(description=_("fee"))
    def fee(self, entry: CreditEntry) -> str:
        return format_minor(entry.fee_minor, entry.currency) if entry.fee_minor else ""
