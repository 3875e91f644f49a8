"""A scheduled report as people type it."""

from typing import Any

from django import forms
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from terminals.common.errors import Refusal
from terminals.common.words import lazy_word, sentence
from terminals.settlement.reports import services
from terminals.settlement.reports.models import ReportSchedule
from terminals.settlement.reports.rules import LEVELS, PERIODS


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """When a report is sent, to whom, and what it tells."""

    level = forms.ChoiceField(
        choices=[(one, lazy_word(one)) for one in LEVELS], label=_("A row for each"), widget=UnfoldAdminSelectWidget
    )
    period = forms.ChoiceField(
        choices=[(one, lazy_word(one)) for one in PERIODS], label=_("Period"), widget=UnfoldAdminSelectWidget
    )
    by_day = forms.BooleanField(required=False, label=_("Each day"), widget=UnfoldBooleanSwitchWidget)
    at = forms.CharField(
        max_length=40,
        required=False,
        label=_("Only of"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("For example merchant:3; empty for all that you may see"),
    )

    user: Any = None  # who types; the admin says it

    class Meta:
        model = ReportSchedule
        fields = ["name", "format", "recipients", "crontab", "time_zone", "enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A new one begins with the report that led here: the page's address says which.
        spec = self.instance.spec if self.instance.pk else self.initial
        self.initial["level"] = spec.get("level", "merchant")
        self.initial["period"] = spec.get("period", "yesterday")
        self.initial["by_day"], self.initial["at"] = bool(spec.get("by_day")), spec.get("at", "")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        spec = {name: values[name] for name in ("level", "period", "at") if values.get(name)}
        self.instance.spec = spec | ({"by_day": "1"} if values.get("by_day") else {})
        self.instance.language = self.instance.language if self.instance.pk else get_language() or "en"
        for name in ("name", "recipients", "crontab", "time_zone", "enabled"):
            setattr(self.instance, name, values[name])
        try:
            services.checked_schedule(self.instance, self.user)
        except Refusal as refusal:
            self.add_error(None, sentence(refusal))
        return values
