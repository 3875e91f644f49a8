"""What a command's end means for the campaign that sent it: said once for all kinds; a kind says what is different with it."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from terminals.campaigns.reports import SWITCHED_OFF, TAKEN_BACK, Came
from terminals.link.facts import failure_reason
from terminals.link.models import Command
from terminals.link.protocol.states import CommandState
from terminals.link.routes import Outcome

LATER = "later"  # a terminal's word for: not now
ASK_AGAIN = timedelta(minutes=30)  # where it does not say when


def answered(command_ids: Iterable[UUID | None]) -> set[UUID]:
    """Return the commands that their terminals have seen: one statement."""
    seen = Command.objects.filter(pk__in=[one for one in command_ids if one], answered_at__isnull=False)
    return set(seen.values_list("pk", flat=True))


def came_of(outcome: Outcome, *, seen: bool) -> Came:
    """Return what the end of a command means. One that no terminal has `seen` was sent to a terminal that is switched off: it has
    another turn, and has not failed."""
    if outcome.state == CommandState.SUCCEEDED:
        return Came(True)
    result, reasons = outcome.result, (failure_reason(outcome).stored(),)
    if outcome.state == CommandState.CANCELLED:
        return Came(False, TAKEN_BACK, reasons)
    if outcome.state == CommandState.EXPIRED and not seen:
        return Came(False, SWITCHED_OFF, reasons, later=timezone.now())
    if result is not None and result.code == LATER:
        return Came(False, LATER, reasons, later=result.later_until or timezone.now() + ASK_AGAIN)
    code = (result.code if result else None) or outcome.state
    final = outcome.state == CommandState.REJECTED or (result is not None and not result.retryable)
    return Came(False, code[:40], reasons, final=final)
