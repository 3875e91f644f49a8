"""What terminals uploaded, in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from terminals.common.admin_base import RecordAdmin
from terminals.common.words import format_minor
from terminals.estate.admin import TerminalOwnedAdmin
from terminals.settlement.transactions.models import Batch, Transaction
from terminals.settlement.transactions.search import matching


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
class TransactionAdmin(RecordAdmin):
    """Searched by an amount, STAN, RRN, approval code, last four digits, a day, or a part of a serial or a store's name."""

    list_display = [
        "occurred_at",
        "terminal",
        "kind",
        "shown_method",
        "amount",
        "card_last4",
        "batch_number",
        "sequence",
    ]
    fields = [
        "terminal",
        "kind",
        "shown_method",
        "amount",
        "batch_number",
        "sequence",
        "occurred_at",
        "received_at",
        "approval_code",
        "card_last4",
        "stan",
        "rrn",
    ]
    readonly_fields = fields
    list_filter = ["kind", "method"]
    lookups = ("terminal", "batch_number")  # a run leads to the transactions of its batch
    list_select_related = ["terminal"]
    search_fields = ["terminal__serial"]
    search_help_text = _(
        "Amount (12.34 EUR), day (2026-11-26), RRN, STAN, approval code, last four digits, serial, or store"
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return matching(queryset, search_term), False

    @admin.display(description=_("amount"))
    def amount(self, transaction: Transaction) -> str:
        return format_minor(transaction.amount_minor, transaction.currency)

    @admin.display(description=_("method"))
    def shown_method(self, transaction: Transaction) -> str:
        return f"{transaction.get_method_display()} {transaction.scheme}".strip()
