"""What settlement knows of terminals' money. Reads only."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet, Sum
from django.utils.translation import ngettext

from terminals.common.words import format_minor
from terminals.settlement.transactions.models import Batch


@dataclass(frozen=True)
class AtStake:
    """Money in open batches: (currency, net minor units, number of transactions) for each currency.

    As text, in the reader's language, it is for example `47.57 EUR in 4 transactions`.
    """

    amounts: tuple[tuple[str, int, int], ...]

    def __bool__(self) -> bool:
        return bool(self.amounts)

    def __str__(self) -> str:
        return ", ".join(
            ngettext("%(amount)s in %(count)s transaction", "%(amount)s in %(count)s transactions", count)
            % {"amount": format_minor(net_minor, currency), "count": count}
            for currency, net_minor, count in self.amounts
        )

    @property
    def key(self) -> str:
        """What a form sends back to say which amounts were seen: `EUR:4757 AUD:10`."""
        return " ".join(f"{currency}:{net_minor}" for currency, net_minor in self.by_currency.items())

    @property
    def by_currency(self) -> dict[str, int]:
        return {currency: net_minor for currency, net_minor, _count in self.amounts}


def open_batches(terminal_id: int) -> QuerySet[Batch]:
    """Return the terminal's batches that hold money which nobody has settled, the newest first."""
    unsettled = Batch.objects.filter(terminal=terminal_id, closed=False, transaction_count__gt=0)
    return unsettled.order_by("-opened_at", "-batch_number", "currency")


def at_stake(terminal_id: int) -> AtStake:
    """Return what would be lost if the terminal never settled again."""
    return stakes([terminal_id]).get(terminal_id, AtStake(()))


def stakes(terminal_ids: Sequence[int]) -> dict[int, AtStake]:
    """Return what would be lost if terminals never settled again, of those where it is anything: one query."""
    unsettled = Batch.objects.filter(terminal__in=terminal_ids, closed=False, transaction_count__gt=0)
    sums = unsettled.order_by("terminal_id", "currency").values_list("terminal_id", "currency")
    found: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for terminal_id, *amount in sums.annotate(net=Sum("net_minor"), count=Sum("transaction_count")):
        found[terminal_id].append(tuple(amount))
    return {terminal_id: AtStake(tuple(amounts)) for terminal_id, amounts in found.items()}
