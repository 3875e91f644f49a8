"""Bulk jobs in the admin: to find; each has a page of its own."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.bulk.models import BulkJob
from terminals.bulk.verbs import verbs
from terminals.common.admin_base import RecordAdmin
from terminals.common.words import word


@admin.register(BulkJob)
class BulkJobAdmin(RecordAdmin):
    list_display = ["requested_at", "what", "told", "filter", "shown_state", "total", "requested_by", "finished_at"]
    list_display_links = None
    list_before_template = "pages/bulk_new.html"
    list_filter = ["state"]
    list_select_related = ["requested_by"]
    needs = {"view": "terminals.view_terminal"}

    @admin.display(description=_("what"))
    def what(self, job: BulkJob) -> str:
        return format_html('<a href="{}">{}</a>', reverse("bulk-job", args=[job.pk]), word(job.verb))

    @admin.display(description=_("with"))
    def told(self, job: BulkJob) -> str:
        return verbs.named(job.verb).told(job.arguments)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        job = self.get_object(request, object_id)
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return redirect("bulk-job", pk=job.pk)
