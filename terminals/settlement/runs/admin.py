"""Runs in the admin: above what is stored, what is wrong in a sentence and the batch's sides next to each other."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.common.words import format_minor
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.settlement.cases.models import Difference
from terminals.settlement.cases.words import sentence_of
from terminals.settlement.credits.selectors import credits_of
from terminals.settlement.reconciliation.lines import lines_of
from terminals.settlement.runs.models import SettlementRun


def _head_of(run: SettlementRun) -> dict[str, Any]:
    """Return what stands above a run's fields: three statements."""
    if run.batch_number is None:
        return {}
    key = (run.terminal_id, run.batch_number)
    of_batch = {"terminal": run.terminal_id, "batch_number": run.batch_number}
    found = Difference.objects.filter(**of_batch).order_by("-is_open", "id")[:20]
    return {
        "lines": sorted(lines_of([key]).get(key, [])),
        "credits": credits_of([key]).get(key, []),
        "told": [(one, sentence_of(one)) for one in found],
    }


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
    change_form_outer_before_template = "pages/run_head.html"
    fields = [
        "terminal",
        "trigger",
        "state_in_words",
        "reason",
        "business_day",
        "settled_on",
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

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Above what is stored: what is wrong in a sentence, the batch's sides, its cases."""
        run = self.get_object(request, object_id)
        context = _head_of(run) if run is not None else {}
        answer: HttpResponse = super().change_view(request, object_id, extra_context=context)
        return answer

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
