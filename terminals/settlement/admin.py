"""Plans, schedules and runs in the admin."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminTextInputWidget

from terminals.common.admin_base import AuditedAdmin, RecordAdmin
from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.common.words import format_minor, sentence
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.estate.services import hold
from terminals.settlement import services
from terminals.settlement.models import Batch, RunTotal, SettlementPlan, SettlementRun, SettlementSchedule, Transaction
from terminals.settlement.selectors import at_stake


class ThresholdForm(forms.ModelForm):  # type: ignore[type-arg]
    """People type major units with their currency; the row keeps minor units and the ISO code."""

    threshold = forms.CharField(
        required=False,
        label=_("Threshold"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("Settle at this unsettled amount, for example 150.00 EUR; empty for no threshold"),
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


class CycleAdmin(AuditedAdmin):
    @admin.display(description=_("threshold"), ordering="threshold_minor")
    def shown_threshold(self, cycle: SettlementPlan | SettlementSchedule) -> str:
        return cycle.shown_threshold()


@admin.register(SettlementPlan)
class SettlementPlanAdmin(CycleAdmin):
    form = ThresholdForm
    fields = ["name", "cycle", "time_zone", "threshold", "jitter_seconds", "is_default", "enabled"]
    list_display = ["name", "cycle", "time_zone", "shown_threshold", "jitter_seconds", "is_default", "enabled"]

    def save_model(self, request: HttpRequest, obj: SettlementPlan, form: Any, change: bool) -> None:
        services.change_plan(obj, actor=request.user.get_username())
        if not obj.enabled or not (obj.cycle or obj.threshold_minor):
            told = gettext(
                "%(plan)s has neither cycle nor threshold, or is not enabled: its terminals do not settle by themselves, "
                "but for those with a cycle or threshold of their own."
            )
            messages.warning(request, told % {"plan": obj})


@admin.register(SettlementSchedule)
class SettlementScheduleAdmin(TerminalOwnedAdmin, CycleAdmin):
    """A terminal's schedule goes only with the terminal: deleting it would end its settlements unnoticed."""

    form = ThresholdForm
    needs = {"add": services.SET_SCHEDULE}
    fields = ["terminal", "plan", "cycle", "time_zone", "threshold"]
    list_display = ["terminal", "plan", "effective", "is_own", "next_due_at"]
    list_filter = ["plan"]
    list_select_related = ["terminal__store", "plan"]
    search_fields = ["terminal__serial"]
    autocomplete_fields = ["terminal"]

    def lock(self, pk: Any) -> None:
        """The terminal first, then what is its: the order of all who change one."""
        hold([pk])
        super().lock(pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("settles"))
    def effective(self, schedule: SettlementSchedule) -> str:
        return schedule.shown_effective()

    @admin.display(description=_("differs from the plan"))
    def is_own(self, schedule: SettlementSchedule) -> str:
        return gettext("its own") if schedule.is_own else ""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["terminal"] if obj else []  # it is the row's identity: edited, it would copy the schedule

    def save_model(self, request: HttpRequest, obj: SettlementSchedule, form: Any, change: bool) -> None:
        saved = services.set_schedule(
            terminal=obj.terminal,
            plan=obj.plan,
            actor=request.user.get_username(),
            cycle=obj.cycle,
            time_zone=obj.time_zone,
            threshold_minor=obj.threshold_minor,
            threshold_currency=obj.threshold_currency,
        )
        if not saved.settles_by_itself():
            stake = at_stake(obj.terminal_id)
            told = gettext("%(terminal)s does NOT settle by itself any more.") % {"terminal": obj.terminal}
            if stake:
                told += " " + gettext("Not settled: %(amounts)s.") % {"amounts": stake}
            messages.warning(request, told)


def _side(description: Any, side: str, kind: str) -> Any:
    """Return a column: how many and how much, as reported or recorded."""

    @admin.display(description=description)
    def column(inline: TabularInline, total: RunTotal) -> str:
        count, minor = getattr(total, f"{side}_{kind}_count"), getattr(total, f"{side}_{kind}_minor")
        return f"{count} / {format_minor(minor, total.run.currency)}"

    return column


class RunTotalInline(TabularInline):  # type: ignore[misc]
    """By payment method: what the terminal reported beside what its transactions add up to, number / amount."""

    model = RunTotal
    extra = 0
    can_delete = False
    verbose_name = _("payment method")
    verbose_name_plural = _("totals by payment method: number / amount")
    fields = ["reported_sales", "recorded_sales", "reported_refunds", "recorded_refunds", "difference"]
    readonly_fields = fields
    reported_sales = _side(_("sales reported"), "reported", "sale")
    recorded_sales = _side(_("sales recorded"), "recorded", "sale")
    reported_refunds = _side(_("refunds reported"), "reported", "refund")
    recorded_refunds = _side(_("refunds recorded"), "recorded", "refund")

    @admin.display(description=_("difference"))
    def difference(self, total: RunTotal) -> str:
        reported = total.reported_sale_minor - total.reported_refund_minor
        recorded = total.recorded_sale_minor - total.recorded_refund_minor
        return format_minor(reported - recorded, total.run.currency, signed=True) if reported != recorded else ""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(SettlementRun)
class SettlementRunAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = [
        "requested_at",
        "finished_at",
        "terminal",
        "trigger",
        "shown_state",
        "batch_number",
        "reported",
        "difference",
        "reason",
    ]
    list_filter = ["state", "trigger"]
    lookups = ("finished_at__gte", "finished_at__lt")  # the overview's numbers lead to the runs of their day
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    inlines = [RunTotalInline]
    fields = [
        "terminal",
        "trigger",
        "state_in_words",
        "reason",
        "batch_number",
        "its_transactions",
        "reported",
        "difference",
        "host_response",
        "requested_at",
        "closed_at",
        "finished_at",
        "command",
    ]

    @admin.display(description=_("transactions"))
    def its_transactions(self, run: SettlementRun) -> str:
        """Where to look when it does not balance: what the terminal uploaded of this batch."""
        if run.batch_number is None:
            return ""
        query = urlencode({"terminal__exact": run.terminal_id, "batch_number__exact": run.batch_number})
        address = f"{reverse('admin:settlement_transaction_changelist')}?{query}"
        told = gettext("those recorded for batch %(number)s") % {"number": f"{run.batch_number:06d}"}
        return format_html('<a href="{}">{}</a>', address, told)

    @admin.display(description=_("reason"))
    def reason(self, run: SettlementRun) -> str:
        return run.reason

    @admin.display(description=_("settled"))
    def reported(self, run: SettlementRun) -> str:
        return "" if run.reported_minor is None else format_minor(run.reported_minor, run.currency)

    @admin.display(description=_("difference"))
    def difference(self, run: SettlementRun) -> str:
        return format_minor(run.difference_minor, run.currency, signed=True) if run.difference_minor else ""


@admin.register(Batch)
class BatchAdmin(TerminalOwnedAdmin, RecordAdmin):
    """What terminals have uploaded, batch by batch: the open ones are the money that is not yet settled."""

    list_display = ["opened_at", "terminal", "batch_number", "amount", "transaction_count", "closed"]
    fields = ["terminal", "batch_number", "amount", "transaction_count", "closed", "opened_at"]
    readonly_fields = fields
    list_filter = ["closed"]
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    ordering = ["-id"]

    @admin.display(description=_("amount"))
    def amount(self, batch: Batch) -> str:
        return format_minor(batch.net_minor, batch.currency)


@admin.register(Transaction)
class TransactionAdmin(TerminalOwnedAdmin, RecordAdmin):
    list_display = ["occurred_at", "terminal", "kind", "method", "amount", "batch_number"]
    fields = [
        "terminal",
        "kind",
        "method",
        "amount",
        "batch_number",
        "occurred_at",
        "received_at",
        "approval_code",
        "card_last4",
    ]
    readonly_fields = fields
    list_filter = ["kind", "method"]
    lookups = ("terminal", "batch_number")  # a run leads to the transactions of its batch
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]

    @admin.display(description=_("amount"))
    def amount(self, transaction: Transaction) -> str:
        return format_minor(transaction.amount_minor, transaction.currency)
