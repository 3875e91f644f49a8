"""Devices that wait to be let in, in the admin: to find; each has a page of its own."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.enrolment.models import EnrolmentRequest


@admin.register(EnrolmentRequest)
class EnrolmentRequestAdmin(RecordAdmin):
    list_display = ["shown_serial", "fingerprint", "address", "shown_state", "asked_at", "last_asked_at", "decided_by"]
    list_display_links = None
    list_filter = ["state"]
    search_fields = ["=serial"]
    list_before_template = "pages/waiting_about.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"queue_is_open": settings.ENROLMENT_QUEUE} | (extra_context or {}))

    @admin.display(description=_("serial"))
    def shown_serial(self, waiting: EnrolmentRequest) -> str:
        return format_html('<a href="{}">{}</a>', reverse("waiting-device", args=[waiting.pk]), waiting.serial)

    @admin.display(description=_("key's fingerprint"))
    def fingerprint(self, waiting: EnrolmentRequest) -> str:
        return waiting.fingerprint

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        waiting = self.get_object(request, object_id)
        if waiting is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return redirect("waiting-device", pk=waiting.pk)
