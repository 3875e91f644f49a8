"""Plans, calendars, and what is due, in the admin. What is set at a level is set on its own page (fleet/pages/plan_levels.py)."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.common.facts.kinds import reasons_text
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.settlement.plans import rules, services
from terminals.settlement.plans.forms import LABELS, in_words, setting_fields, typed_settings
from terminals.settlement.plans.models import BusinessCalendar, PlanLevel, SettlementPlan, SettlementSchedule


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]
    """A plan's name, and a field for each of its settings; what is left empty has its default."""

    class Meta:
        model = SettlementPlan
        fields = ["name", "is_default"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= setting_fields(self.instance.settings)
        for name, field in self.fields.items():
            if name in rules.SETTINGS and not isinstance(field, forms.ChoiceField):
                field.widget.attrs["placeholder"] = in_words(name, rules.SETTINGS[name].default)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        self.instance.settings = typed_settings(self)
        return values


@admin.register(SettlementPlan)
class SettlementPlanAdmin(AuditedAdmin):
    form = PlanForm
    list_display = ["name", "shown_settings", "is_default"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        names = list(LABELS)
        when, how, checks = names[:8], names[8:15], names[15:]
        return [
            (None, {"fields": ["name", "is_default"]}),
            (_("When"), {"fields": when}),
            (_("How"), {"fields": how}),
            (_("Readiness"), {"fields": checks}),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["fields"] = ["name", "is_default"]  # the settings' fields are the form's own
        return super().get_form(request, obj, change=change, **kwargs)

    @admin.display(description=_("settles"))
    def shown_settings(self, plan: SettlementPlan) -> str:
        return plan.shown_settings()

    def save_model(self, request: HttpRequest, obj: SettlementPlan, form: Any, change: bool) -> None:
        services.change_plan(obj, actor=request.user.get_username())
        if not rules.settles_by_itself(rules.complete(obj.settings)):
            told = gettext(
                "%(plan)s has neither cycle nor limit, or is not enabled: its terminals do not settle by themselves, "
                "but for those with settings of their own."
            )
            messages.warning(request, told % {"plan": obj})


@admin.register(BusinessCalendar)
class BusinessCalendarAdmin(AuditedAdmin):
    fields = ["name", "country", "subdivision", "weekend", "closed_days", "open_days"]
    list_display = ["name", "country", "subdivision"]

    def save_model(self, request: HttpRequest, obj: BusinessCalendar, form: Any, change: bool) -> None:
        services.change_calendar(obj, actor=request.user.get_username())


@admin.register(PlanLevel)
class PlanLevelAdmin(RecordAdmin):
    """What is set where; each leads to its page."""

    list_display = ["shown_level", "plan", "shown", "changed_by", "changed_at"]
    fields = ["shown_level", "plan", "shown", "changed_by", "changed_at"]
    readonly_fields = fields
    list_select_related = ["organisation", "merchant", "store", "terminal", "plan"]

    @admin.display(description=_("level"))
    def shown_level(self, one: PlanLevel) -> str:
        address = reverse("settlement-level", args=[one.level, getattr(one, f"{one.level}_id")])
        return format_html('<a href="{}">{}</a>', address, one)

    @admin.display(description=_("settings of its own"))
    def shown(self, one: PlanLevel) -> str:
        return ", ".join(str(LABELS[name][0]) for name in one.settings)


@admin.register(SettlementSchedule)
class SettlementScheduleAdmin(TerminalOwnedAdmin, RecordAdmin):
    """When each terminal is due. It follows from what is set at the levels above it, and is not edited."""

    fields = ["shown_terminal", "settles", "next_due_at", "due_reason", "in_the_way"]
    readonly_fields = fields
    list_display = ["terminal", "plan", "settles", "next_due_at", "in_the_way"]
    list_filter = ["is_blocked"]
    list_select_related = ["terminal", "effective__plan"]
    search_fields = ["terminal__serial"]

    @admin.display(description=_("plan"))
    def plan(self, schedule: SettlementSchedule) -> str:
        return str(schedule.effective.plan or "")

    @admin.display(description=_("settles"))
    def settles(self, schedule: SettlementSchedule) -> str:
        return schedule.shown_effective()

    @admin.display(description=_("in the way"))
    def in_the_way(self, schedule: SettlementSchedule) -> str:
        return reasons_text(schedule.problems)

    @admin.display(description=_("terminal"))
    def shown_terminal(self, schedule: SettlementSchedule) -> str:
        address = reverse("settlement-level", args=["terminal", schedule.pk])
        return format_html('<a href="{}">{}</a>', address, schedule.terminal)
