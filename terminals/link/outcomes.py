"""What becomes of commands: moved by what terminals say, offered again, closed exactly once, and forgotten long after."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from terminals.common.sql import id_set
from terminals.common.states import Transition
from terminals.common.transitions import move
from terminals.estate.services import hold_alone
from terminals.link import traced
from terminals.link.models import Command
from terminals.link.outbox import wake_relay
from terminals.link.protocol.messages.link import Result
from terminals.link.protocol.states import OPEN_STATES, CommandState, CommandTransition, is_final
from terminals.link.routes import Outcome, routes

FORGOTTEN_AT_ONCE = 200  # whose terminals wait meanwhile
MOVES = [  # one row a target: a command may be in another of its sources by the time its lock is free
    {
        "target": target,
        "sources": [one.value for each in CommandTransition.all if each.target == target for one in each.sources],
    }
    for target in sorted({transition.target.value for transition in CommandTransition.all})
]


def offer_again(terminal_ids: Iterable[int], now: datetime) -> None:
    """Make the open commands of these terminals due at once."""
    if Command.objects.filter(pk__in=_open_of(terminal_ids).filter(attempts__gt=0)).update(next_attempt_at=now):
        wake_relay()


# Raw: many different outcomes in one statement, which locks rows in one order and says which it moved.
ADVANCE = """
WITH locked AS (  -- in one order, or two links could wait for each other
    SELECT id FROM link_command WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id FOR UPDATE
)
UPDATE link_command c
   SET state = r.state, percent = coalesce(r.percent, c.percent), code = r.code, detail = r.detail,
       answered_at = %(now)s,
       finished_at = CASE WHEN r.final THEN %(now)s::timestamptz END,
       -- an accepted command is asked after again in a while: its last word may have died with the broker
       next_attempt_at = CASE WHEN r.final THEN NULL ELSE %(now)s::timestamptz + interval '60 seconds' END
  FROM json_to_recordset(%(rows)s) AS r(command_id uuid, terminal_id bigint, state text, percent smallint, code text,
                                        detail text, final boolean)
  JOIN locked ON locked.id = r.command_id
  JOIN json_to_recordset(%(moves)s) AS m(sources text[], target text) ON m.target = r.state
 WHERE c.id = r.command_id AND c.terminal_id = r.terminal_id AND c.state = ANY(m.sources)
RETURNING c.id, c.type, c.traceparent
"""


def advance_commands(results: Sequence[tuple[int, Result]]) -> None:
    """Apply (terminal id, result) pairs, at most one for a command; a command that is already final stays as it is."""
    since = timezone.now()
    rows = [
        {
            "command_id": str(result.command_id),
            "terminal_id": terminal_id,
            "state": result.state,
            "percent": result.percent,
            "code": result.code or "",
            "detail": result.detail or "",
            "final": is_final(result.state),
        }
        for terminal_id, result in results
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            ADVANCE,
            {
                "ids": [row["command_id"] for row in rows],
                "rows": json.dumps(rows),
                "now": since,
                "moves": json.dumps(MOVES),
            },
        )
        moved = {command_id: (kind, traceparent) for command_id, kind, traceparent in cursor.fetchall()}
    outcomes = [
        (moved[result.command_id], Outcome(result.command_id, terminal_id, result.state, result))
        for terminal_id, result in results
        if result.command_id in moved
    ]
    _dispatch((kind, outcome) for (kind, _), outcome in outcomes)
    for (kind, traceparent), outcome in outcomes:
        traced.moved(kind, outcome, traceparent, since)


@transaction.atomic
def expire_commands() -> int:
    """Close up to 1000 open commands whose time is over; return how many. Their features hear of it."""
    due = Command.objects.filter(finished_at=None, expires_at__lte=timezone.now()).order_by("expires_at")
    return _close(due.select_for_update(skip_locked=True)[:1000], CommandTransition.expire)


@transaction.atomic
def cancel_commands(terminal_ids: Sequence[int]) -> int:
    """Close all open commands of terminals that leave service."""
    return _close(_open_of(terminal_ids), CommandTransition.cancel)


def take_back_commands(terminal_ids: Iterable[int], command_type: str, requested_by: str) -> set[int]:
    """Close open commands of a type that somebody asked for and that were never published, so that no terminal can have seen
    them; return their terminals."""
    mine = {"type": command_type, "requested_by": requested_by}
    unseen = _open_of(terminal_ids).filter(**mine, state=CommandState.QUEUED, attempts=0)
    terminals = set(unseen.values_list("terminal_id", flat=True))
    _close(unseen, CommandTransition.cancel)
    return terminals


def supersede_commands(terminal_ids: Iterable[int], types: Sequence[str]) -> int:
    """Close open commands that a newer one of the caller's replaces: sent again, an older one would undo it."""
    return _close(_open_of(terminal_ids).filter(type__in=types), CommandTransition.cancel)


def _open_of(terminal_ids: Iterable[int]) -> QuerySet[Command]:
    """Lock terminals' open commands by id: whoever waits for commands takes them in this order."""
    chosen = Command.objects.filter(terminal__in=id_set(terminal_ids), state__in=OPEN_STATES)
    return chosen.order_by("pk").select_for_update()


def _close(locked: QuerySet[Command], transition: Transition[CommandState]) -> int:
    """Move locked commands by a transition that ends them, and tell their features."""
    since = timezone.now()
    closed = [
        (kind, Outcome(command_id, terminal_id, transition.target, None), traceparent)
        for command_id, terminal_id, kind, traceparent in locked.values_list("pk", "terminal_id", "type", "traceparent")
    ]
    chosen = Command.objects.filter(pk__in=[outcome.command_id for _, outcome, _ in closed])
    if closed:
        move(chosen, transition, finished_at=since, next_attempt_at=None)
    _dispatch((kind, outcome) for kind, outcome, _ in closed)
    for kind, outcome, traceparent in closed:
        traced.moved(kind, outcome, traceparent, since)
    return len(closed)


@transaction.atomic
def forget_commands(before: datetime) -> int:
    """Delete up to FORGOTTEN_AT_ONCE commands that ended before an instant; return how many. What they were for stays."""
    # An id begins with its time (UUIDv7), so that its index finds the oldest.
    first_kept = UUID(int=int(before.timestamp() * 1000) << 80)
    old = Command.objects.filter(pk__lt=first_kept, finished_at__lt=before).order_by("pk")
    chosen = dict(old.values_list("pk", "terminal_id")[:FORGOTTEN_AT_ONCE])
    hold_alone(chosen.values())  # before what refers to their commands, as everybody does
    return Command.objects.filter(pk__in=list(chosen)).only("pk").delete()[0]


def _dispatch(outcomes: Iterable[tuple[str, Outcome]]) -> None:
    by_type: dict[str, list[Outcome]] = defaultdict(list)
    for kind, outcome in outcomes:
        by_type[kind].append(outcome)
    for kind, moved in by_type.items():
        if kind in routes.outcomes:
            routes.outcomes[kind](moved)
