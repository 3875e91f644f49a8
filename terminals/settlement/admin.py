"""Plans, schedules and runs in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import TabularInline

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.common.errors import Refusal
from terminals.common.money import format_minor, parse_major
from terminals.common.words import sentence
from terminals.settlement import services
from terminals.settlement.models import RunTotal, SettlementPlan, SettlementRun, SettlementSchedule, Transaction


class ThresholdForm(forms.ModelForm):  # type: ignore[type-arg]
    """People type major units with their currency; the row keeps minor units and the ISO code."""

    threshold = forms.CharField(
        required=False, help_text="Settle at this unsettled amount, for example 150.00 EUR; empty for no threshold"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["threshold"].initial = self.instance.shown_threshold()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        minor, currency = None, ""
        try:
            if values.get("threshold"):
                minor, currency = parse_major(values["threshold"])
                if not minor:
                    raise Refusal("bad_amount", "the threshold must be above zero; leave it empty for none")
        except Refusal as refusal:
            minor, currency = None, ""
            self.add_error("threshold", sentence(refusal))
        self.instance.threshold_minor, self.instance.threshold_currency = minor, currency
        return values


@admin.register(SettlementPlan)
class SettlementPlanAdmin(AuditedAdmin):
    form = ThresholdForm
    exclude = ["threshold_minor", "threshold_currency"]
    list_display = ["name", "cycle", "time_zone", "shown_threshold", "jitter_seconds", "is_default", "enabled"]

    def save_model(self, request: HttpRequest, obj: SettlementPlan, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change:
            services.reschedule_plan(obj)


@admin.register(SettlementSchedule)
class SettlementScheduleAdmin(AuditedAdmin):
    """A terminal's schedule goes only with the terminal: deleting it would end its settlements unnoticed."""

    form = ThresholdForm
    exclude = ["threshold_minor", "threshold_currency"]
    list_display = ["terminal", "plan", "cycle", "time_zone", "shown_threshold", "next_due_at"]
    list_filter = ["plan"]
    list_select_related = ["terminal", "plan"]
    search_fields = ["terminal__serial"]
    autocomplete_fields = ["terminal"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: SettlementSchedule, form: Any, change: bool) -> None:
        now = timezone.now()
        if obj.next_due_at is None or obj.next_due_at > now:  # what is due stays due
            obj.next_due_at = obj.next_due_after(now)
        super().save_model(request, obj, form, change)


class RunTotalInline(TabularInline):  # type: ignore[misc]
    model = RunTotal
    extra = 0
    can_delete = False


@admin.register(SettlementRun)
class SettlementRunAdmin(RecordAdmin):
    list_display = ["requested_at", "terminal", "trigger", "state", "batch_number", "reported", "difference", "reason"]
    list_filter = ["state", "trigger"]
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    inlines = [RunTotalInline]

    @admin.display(description="Settled")
    def reported(self, run: SettlementRun) -> str:
        return "" if run.reported_minor is None else format_minor(run.reported_minor, run.currency)

    @admin.display(description="Difference")
    def difference(self, run: SettlementRun) -> str:
        return format_minor(run.difference_minor, run.currency, signed=True) if run.difference_minor else ""


@admin.register(Transaction)
class TransactionAdmin(RecordAdmin):
    list_display = ["occurred_at", "terminal", "kind", "method", "amount", "batch_number"]
    list_filter = ["kind", "method"]
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]

    @admin.display(description="Amount")
    def amount(self, transaction: Transaction) -> str:
        return format_minor(transaction.amount_minor, transaction.currency)
