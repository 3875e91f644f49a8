"""What a terminal that leaves service for good leaves behind: money that nobody may lose, its schedule, its open runs."""

from collections.abc import Sequence
from typing import Any, cast

from django.db.models import Exists, OuterRef, Q

from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.facts.services import record_facts
from terminals.estate.models import Store, Terminal
from terminals.estate.services import WriteOff
from terminals.settlement.models import SettlementRun, SettlementSchedule, Transaction
from terminals.settlement.runs.facts import TerminalRetired, WrittenOff
from terminals.settlement.runs.services import fail_runs
from terminals.settlement.selectors import AtStake, open_batches, stakes

LISTED = 100  # batches that an audit entry of a write-off names; their sums and number are always whole


class UnsettledMoney(Refusal):
    """Money would be stranded; programs are told how much, in minor units, to say so when they write it off."""

    @property
    def members(self) -> dict[str, Any]:
        return {"write_off": cast(AtStake, self.values["amounts"]).by_currency}


def refuse_stranded_money(terminal_ids: Sequence[int], write_off: WriteOff, actor: str) -> dict[int, Refusal]:
    """Return a Refusal for each terminal that would retire with money that nobody could settle; audit what is written off."""
    refused: dict[int, Refusal] = {}
    found = stakes(terminal_ids)
    serials = dict(Terminal.objects.filter(pk__in=found).values_list("pk", "serial"))
    for terminal_id, stake in found.items():
        if write_off != stake.by_currency:
            refused[terminal_id] = UnsettledMoney(
                "unsettled_money",
                "%(amounts)s on %(serial)s are not settled; settle first, or write them off",
                amounts=stake,
                serial=serials[terminal_id],
            )
        else:
            _write_off(Terminal.objects.get(pk=terminal_id), stake, actor)
    return refused


def has_history() -> Q:
    """Return what holds for terminals with money that belongs to their merchant's past or present."""
    mine = OuterRef("pk")
    return Q(Exists(Transaction.objects.filter(terminal=mine).order_by())) | Q(
        Exists(SettlementRun.objects.filter(terminal=mine).order_by())
    )


def refuse_other_merchant(terminal_ids: Sequence[int], store: Store) -> dict[int, Refusal]:
    """Return a Refusal for each terminal that would take its merchant's transactions and settlements to another merchant."""
    foreign = Terminal.objects.filter(pk__in=terminal_ids).exclude(store__merchant=store.merchant_id)
    return dict.fromkeys(foreign.filter(has_history()).values_list("pk", flat=True), OTHERS_MONEY)


OTHERS_MONEY = Refusal(
    "others_money", "it has transactions of its present merchant, which would go along; use another device there"
)


def _write_off(terminal: Terminal, stake: AtStake, actor: str) -> None:
    stranded = open_batches(terminal.pk)
    columns = ("batch_number", "currency", "net_minor", "transaction_count")
    detail = {
        "amounts": stake.by_currency,
        "count": stranded.count(),
        "batches": list(stranded.values(*columns)[:LISTED]),
    }
    audit.record(actor=actor, action="settlement.write_off", subject=subject_of(terminal), detail=detail)
    stranded.update(closed=True)
    record_facts([(terminal.pk, WrittenOff(amounts=list(stake.amounts), by=actor))])


def end_schedules(terminal_ids: Sequence[int]) -> None:
    """Terminals that left service have no next settlement; runs still open will never be answered."""
    SettlementSchedule.objects.filter(terminal__in=terminal_ids).delete()
    fail_runs(SettlementRun.objects.filter(terminal__in=terminal_ids), TerminalRetired())
