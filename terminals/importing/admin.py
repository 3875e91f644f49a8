"""Imports in the admin: to find; each has a page of its own."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.importing.models import Import
from terminals.importing.services import IMPORT


@admin.register(Import)
class ImportAdmin(RecordAdmin):
    list_display = ["requested_at", "shown_file", "shown_state", "total", "requested_by", "finished_at"]
    list_display_links = None
    list_before_template = "pages/import_new.html"
    list_filter = ["state"]
    list_select_related = ["requested_by"]
    needs = {"view": IMPORT}

    @admin.display(description=_("file"))
    def shown_file(self, job: Import) -> str:
        return format_html('<a href="{}">{}</a>', reverse("import-job", args=[job.pk]), job.file_name)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        job = self.get_object(request, object_id)
        if job is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return redirect("import-job", pk=job.pk)
