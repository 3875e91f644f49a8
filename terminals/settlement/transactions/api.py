"""Transactions in the API."""

from typing import Any

import django_filters
from django.db.models import QuerySet

from terminals.common.api.base import ReadViewSet
from terminals.common.api.serializers import ModelSerializer
from terminals.settlement.transactions.models import Transaction
from terminals.settlement.transactions.search import matching


class TransactionSerializer(ModelSerializer[Transaction]):
    class Meta:
        model = Transaction
        exclude = ["received_at"]


class TransactionFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Exact columns, a span of time, and `search` for what somebody has in hand."""

    occurred_after = django_filters.IsoDateTimeFilter("occurred_at", "gte")
    occurred_before = django_filters.IsoDateTimeFilter("occurred_at", "lt")
    search = django_filters.CharFilter(
        method="find", max_length=100, help_text="Amount, day, RRN, STAN, approval code, last four"
    )

    class Meta:
        model = Transaction
        fields = [
            "terminal",
            "batch_number",
            "sequence",
            "kind",
            "method",
            "scheme",
            "currency",
            "amount_minor",
            "stan",
            "rrn",
            "approval_code",
            "card_last4",
        ]

    def find(self, rows: QuerySet[Transaction], name: str, text: Any) -> QuerySet[Transaction]:
        return matching(rows, str(text))


class TransactionViewSet(ReadViewSet):
    """Transactions as terminals uploaded them."""

    queryset = Transaction.objects.all()
    serializer_class = TransactionSerializer
    filterset_class = TransactionFilter
