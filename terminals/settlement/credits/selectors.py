"""What a credit file came to: its entries by state, its money, and the differences about its batches."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from terminals.settlement.cases.models import Difference
from terminals.settlement.credits.comparing import OF_CREDIT
from terminals.settlement.credits.models import BatchCredit, CreditEntry, CreditFile
from terminals.settlement.credits.rules import EntryState
from terminals.settlement.reconciliation.rules import DifferenceKind
from terminals.settlement.transactions.services import BatchKey, of_batches


class Money(NamedTuple):
    """What arrived in one currency, and what was kept of it as fees; minor units."""

    currency: str
    net_minor: int
    fee_minor: int


def entries_by_state(job: CreditFile) -> dict[str, int]:
    """Return how many of a file's entries are in which state."""
    return dict(job.entries.order_by().values_list("state").annotate(n=Count("pk")))


def money_of(job: CreditFile) -> list[Money]:
    """Return what a file's matched entries add up to, a currency each."""
    matched = job.entries.filter(state=EntryState.MATCHED).order_by()
    rows = matched.values_list("currency").annotate(net=Sum("net_minor"), fee=Sum("fee_minor")).order_by("currency")
    return [Money(*row) for row in rows]


def differences_about(job: CreditFile) -> QuerySet[Difference]:
    """Return the open differences about the credits of a file's batches, and about terminals that it names and nobody knows."""
    mine = CreditEntry.objects.filter(file=job)
    batch = mine.filter(terminal=OuterRef("terminal"), batch_number=OuterRef("batch_number"))
    unknown = mine.filter(state=EntryState.UNKNOWN, tid=OuterRef("detail"), batch_number=OuterRef("batch_number"))
    of_credit = Q(kind__in=[kind.value for kind in OF_CREDIT]) & Exists(batch)
    of_file = Q(case__organisation=job.profile.organisation_id)  # another organisation's unknown terminals are its own
    nobodys = Q(kind=DifferenceKind.UNKNOWN_TERMINAL, terminal=None) & of_file & Exists(unknown)
    return Difference.objects.filter(of_credit | nobodys, is_open=True).select_related("terminal")


def credits_of(keys: Sequence[BatchKey]) -> dict[BatchKey, list[BatchCredit]]:
    """Return what was credited for batches, by (terminal, batch): one statement."""
    found: dict[BatchKey, list[BatchCredit]] = defaultdict(list)
    for credit in BatchCredit.objects.filter(of_batches(keys)).order_by("currency", "method", "scheme"):
        found[credit.terminal_id, credit.batch_number].append(credit)
    return found


def credited(credits: Iterable[BatchCredit]) -> list[Money]:
    """Return what the credits of a batch add up to, a currency each."""
    sums: dict[str, Money] = {}
    for one in credits:
        _currency, net, fee = sums.get(one.currency, Money(one.currency, 0, 0))
        sums[one.currency] = Money(one.currency, net + one.net_minor, fee + one.fee_minor)
    return [sums[currency] for currency in sorted(sums)]
