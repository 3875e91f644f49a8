"""Closed days and scheduled reports in the admin; reports themselves have pages (fleet/pages/reports.py)."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.settlement.reports.forms import ScheduleForm
from terminals.settlement.reports.models import DailyClose, ReportSchedule

OF_REPORT = ("level", "period", "by_day", "at")  # the form's own fields: what a schedule's report tells


@admin.register(DailyClose)
class DailyCloseAdmin(RecordAdmin):
    list_display = ["shown_day", "organisation", "closed_by", "closed_at"]
    list_display_links = None
    list_select_related = ["organisation"]
    list_before_template = "pages/reports_new.html"

    @admin.display(description=_("day"))
    def shown_day(self, close: DailyClose) -> str:
        return format_html('<a href="{}">{}</a>', reverse("day-closed", args=[close.pk]), close.day)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        if self.get_object(request, object_id) is not None and self.has_view_permission(request):
            return redirect("day-closed", object_id)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer


@admin.register(ReportSchedule)
class ReportScheduleAdmin(AuditedAdmin):
    form = ScheduleForm
    list_display = ["name", "format", "crontab", "time_zone", "enabled", "next_at", "sent_at", "trouble"]
    list_display_links = ["name"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        what, when = ["name", *OF_REPORT, "format"], ["crontab", "time_zone", "enabled"]
        return [(None, {"fields": what}), (_("Sent"), {"fields": ["recipients", *when]})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = ScheduleForm.Meta.fields  # the report's own fields are the form's
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"user": request.user})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What is to be sent may come from the page of a report."""
        said = {name: request.GET[name][:40] for name in OF_REPORT if name in request.GET}
        return super().get_changeform_initial_data(request) | said

    def save_model(self, request: HttpRequest, obj: ReportSchedule, form: Any, change: bool) -> None:
        if not change:
            obj.owner = request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)

    @admin.display(description=_("not sent"))
    def trouble(self, schedule: ReportSchedule) -> str:
        return schedule.why()
