"""Finding transactions by what somebody has in hand: a voucher's amount, a reference number, a card's last digits. Reads only."""

import re
from datetime import UTC, date, datetime, timedelta

from django.db.models import Q, QuerySet

from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.estate import selectors
from terminals.estate.models import Store
from terminals.settlement.transactions.models import Transaction

_AMOUNT = re.compile(r"[0-9.,']+ ?[A-Za-z]{3}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def matching(rows: QuerySet[Transaction], text: str) -> QuerySet[Transaction]:
    """Return the transactions that fit every part of a text; each part asks columns that have an index."""
    text = text.strip()
    for amount in _AMOUNT.findall(text):
        try:
            minor, currency = parse_major(amount.upper())
        except Refusal:
            continue
        rows, text = rows.filter(amount_minor=minor, currency=currency), text.replace(amount, " ")
    for part in text.split()[:5]:
        rows = rows.filter(_one(part))
    return rows


def _one(part: str) -> Q:
    """Return what one word may mean: several columns can hold six digits."""
    if _DAY.fullmatch(part):
        try:
            begun = datetime.combine(date.fromisoformat(part), datetime.min.time(), tzinfo=UTC)
        except ValueError:
            return Q(pk=None)
        return Q(occurred_at__gte=begun, occurred_at__lt=begun + timedelta(days=1))
    stores = selectors.ids_or_query(selectors.containing(Store.objects.order_by(), "name", part))
    found = selectors.of_terminals_named(part) | Q(terminal__store__in=stores)
    if re.fullmatch(r"[0-9]{4}", part):
        found |= Q(card_last4=part)
    if re.fullmatch(r"[0-9]{6}", part):
        found |= Q(stan=part)
    if re.fullmatch(r"[A-Z0-9]{1,12}", part.upper()):
        found |= Q(approval_code=part.upper())
    if re.fullmatch(r"[A-Z0-9]{12}", part.upper()):
        found |= Q(rrn=part.upper())
    return found
