"""What a filter may ask of terminals' money."""

from django.db.models import Exists, OuterRef, Q

from terminals.estate.targets.fields import FLAG, LOOKUPS, MONEY, TEXT, WORD, Field, having
from terminals.settlement.models import Batch, SettlementRun
from terminals.settlement.runs.rules import RunState

SEE = "settlement.view_settlementrun"


def _unsettled(operator: str, amount: tuple[int, str]) -> Q:
    minor, currency = amount
    return having(Batch.objects.filter(closed=False, currency=currency), **{f"net_minor{LOOKUPS[operator]}": minor})


def _last_run(operator: str, state: str) -> Q:
    later = SettlementRun.objects.filter(terminal=OuterRef("terminal"), pk__gt=OuterRef("pk"))
    return having(SettlementRun.objects.filter(~Exists(later), state=state))


def _blocked(operator: str, value: object) -> Q:
    return Q(schedule__is_blocked=True)


FIELDS = (
    Field("unsettled", MONEY, "amount in an open batch", build=_unsettled, needs=SEE, index="(terminal, number)"),
    Field("settlement", WORD, "state of the last settlement", build=_last_run, choices=tuple(RunState), needs=SEE),
    Field("plan", TEXT, "settlement plan", at="schedule__effective__plan__name", needs=SEE, index="foreign key"),
    Field(
        "blocked",
        FLAG,
        "not ready for its next settlement",
        build=_blocked,
        needs=SEE,
        index="partial, blocked ones only",
    ),
)
