"""Runs in the admin. Their page is fleet/pages/settlement_run.py; here are the list and what happened, as it is stored."""

from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.common.words import format_minor
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.settlement.runs.models import SettlementRun


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
    fields = [
        "terminal",
        "trigger",
        "state_in_words",
        "reason",
        "business_day",
        "attempt",
        "batch_number",
        "its_transactions",
        "reported",
        "difference",
        "host_response",
        "due_at",
        "requested_at",
        "ends_at",
        "opened_at",
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
