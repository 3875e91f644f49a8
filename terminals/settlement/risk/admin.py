"""Risk rules in the admin; each is tried on a page (fleet/pages/risk.py) before it is switched on."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.settlement.risk.models import RiskRule


@admin.register(RiskRule)
class RiskRuleAdmin(RecordAdmin):
    list_display = ["shown_signal", "organisation", "shown_settings", "enabled"]
    list_display_links = None
    list_before_template = "pages/risk_new.html"
    list_select_related = ["organisation"]

    @admin.display(description=_("signal"))
    def shown_signal(self, rule: RiskRule) -> str:
        address = reverse("risk-rule", args=[rule.signal])
        whose = f"?organisation={rule.organisation_id}" if rule.organisation_id else ""
        return format_html('<a href="{}{}">{}</a>', address, whose, rule.get_signal_display())

    @admin.display(description=_("settings"))
    def shown_settings(self, rule: RiskRule) -> str:
        return ", ".join(f"{name} {value}" for name, value in rule.settings.items())

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Its own page shows more."""
        rule = self.get_object(request, object_id)
        if rule is not None and self.has_view_permission(request):
            whose = f"?organisation={rule.organisation_id}" if rule.organisation_id else ""
            return redirect(reverse("risk-rule", args=[rule.signal]) + whose)
        answer: HttpResponse = super().change_view(request, object_id, *args, **kwargs)
        return answer
