"""Terminals of campaigns as they move: every change of their states passes here, with its tally. Set-based.

Whoever moves members and holds their terminals does that first (estate.services.hold, or the inbox), then holds the campaign,
then all those members by id.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db import connection
from django.db.models import Q, Sum

from terminals.campaigns.models import Campaign, Tally
from terminals.campaigns.rules import ENDED, MemberState
from terminals.common.states import Transition


def lock_thing(campaign: Campaign) -> None:
    """Let campaigns that move one thing take terminals one after the other, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"campaign:{campaign.thing}"])


class Move(msgspec.Struct):
    """What one member comes to. `due_at` None: it is not looked at again by itself."""

    id: int
    code: str = ""
    reasons: list[dict[str, Any]] = []
    due_at: datetime | None = None
    attempt: int | None = None  # None: as it was
    failures: int | None = None  # of its attempts; None: as it was
    before: Mapping[str, Any] | None = None  # what was there before the campaign: kept where it is known


class Moved(NamedTuple):
    """A member that moved."""

    id: int
    wave_id: int
    terminal_id: int


# What each of the two statements below goes on with: a state that a member leaves and one that it enters are counted in the same
# statement.
TALLIED = """, tallied AS (
    INSERT INTO campaigns_tally (wave_id, state, code, number)
    SELECT wave_id, state, code, sum(number)
      FROM (SELECT wave_id, left_state AS state, left_code AS code, -1 AS number FROM moved
             UNION ALL SELECT wave_id, state, code, 1 FROM moved) AS changes
     GROUP BY 1, 2, 3 HAVING sum(number) <> 0
)
"""
WHICH = "SELECT id, wave_id, terminal_id FROM moved"
HOW_MANY = "SELECT count(*) FROM moved"
IN_DOUBT = "failed_before"  # as open members are counted whose attempts failed so far
COUNTED = f"CASE WHEN m.state IN ('planned', 'waiting', 'ordered') AND m.failures > 0 THEN '{IN_DOUBT}' ELSE m.code END"
# Raw: the ORM neither updates from rows of values nor returns what it changed.
MOVE = """
WITH said AS (
    SELECT * FROM json_to_recordset(%(rows)s) AS r(id bigint, code text, reasons jsonb, due_at timestamptz, attempt int,
                                                   failures int, before jsonb)
), held AS (
    SELECT m.id, m.wave_id, m.terminal_id, m.state, {counted} AS code FROM campaigns_member m JOIN said USING (id)
     WHERE m.state = ANY(%(sources)s) ORDER BY m.id FOR NO KEY UPDATE OF m
), moved AS (
    UPDATE campaigns_member m
       SET state = %(target)s, code = s.code, reasons = s.reasons, due_at = s.due_at,
           attempt = least(coalesce(s.attempt, m.attempt), 32767),
           failures = least(coalesce(s.failures, m.failures), 32767),
           before = coalesce(m.before, s.before),
           ordered_at = CASE WHEN %(ordered)s THEN %(now)s::timestamptz ELSE m.ordered_at END,
           finished_at = CASE WHEN %(ended)s THEN %(now)s::timestamptz END
      FROM said s JOIN held h USING (id)
     WHERE m.id = s.id
    RETURNING m.id, m.wave_id, m.terminal_id, h.state AS left_state, h.code AS left_code, m.state, {counted} AS code
)""".replace("{counted}", COUNTED)


def move_members(moves: Iterable[Move], transition: Transition[MemberState], now: datetime) -> list[Moved]:
    """Move members by a transition, and return those that it could: one statement."""
    rows = list(moves)
    if not rows:
        return []
    parameters: dict[str, Any] = {
        "rows": msgspec.json.encode(rows).decode(),
        "sources": [state.value for state in transition.sources],
        "target": transition.target.value,
        "ordered": transition.target is MemberState.ORDERED,
        "ended": transition.target in ENDED,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(MOVE + TALLIED + WHICH, parameters)
        return [Moved(*row) for row in cursor.fetchall()]


# Raw: the same for all of some waves, whose ids need not travel.
MOVE_ALL = """
WITH held AS (
    SELECT m.id, {counted} AS code, m.state FROM campaigns_member m
     WHERE m.wave_id = ANY(%(waves)s) AND m.state = ANY(%(sources)s)
       AND (NOT %(alone)s OR NOT EXISTS (SELECT 1 FROM campaigns_member o WHERE o.terminal_id = m.terminal_id
                                            AND o.thing = m.thing AND o.state IN ('waiting', 'ordered')))
     ORDER BY m.id FOR NO KEY UPDATE
), moved AS (
    UPDATE campaigns_member m
       SET state = %(target)s, code = '', due_at = %(now)s::timestamptz + random() * %(spread)s::interval,
           finished_at = CASE WHEN %(ended)s THEN %(now)s::timestamptz END
      FROM held h WHERE m.id = h.id
    RETURNING m.wave_id, h.state AS left_state, h.code AS left_code, m.state, {counted} AS code
)""".replace("{counted}", COUNTED)


def move_all(
    wave_ids: Sequence[int], transition: Transition[MemberState], now: datetime, *, spread: timedelta | None = None
) -> int:
    """Move every member of some waves that may take a transition; return how many. With `spread` each is due at some instant
    within it, and those stay where they are on whose terminals another campaign is moving the same."""
    parameters: dict[str, Any] = {
        "waves": list(wave_ids),
        "sources": [state.value for state in transition.sources],
        "target": transition.target.value,
        "ended": transition.target in ENDED,
        "spread": spread,
        "alone": spread is not None,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(MOVE_ALL + TALLIED + HOW_MANY, parameters)
        (number,) = cursor.fetchone()
        return int(number)


# --- how many there are ----------------------------------------------------------------------------------------------
class Tallied(NamedTuple):
    """So many members of a wave are in a state, with a code (IN_DOUBT: see there)."""

    wave_id: int
    state: str
    code: str
    number: int


def tallied(among: Q) -> Iterator[Tallied]:
    """Return how many members of some waves (a condition on tallies) are in which state: one statement, and nobody is counted."""
    summed = Tally.objects.filter(among).values("wave_id", "state", "code").annotate(sum=Sum("number"))
    yield from (Tallied(*row) for row in summed.filter(sum__gt=0).values_list("wave_id", "state", "code", "sum"))


MOST_ROWS = 200  # of a wave, before they are summed up
# Raw: the ORM cannot put the sum of rows in their place in one statement, as readers must always see one or the other.
FOLD = """
WITH long AS (
    SELECT t.wave_id FROM campaigns_tally t JOIN campaigns_wave w ON w.id = t.wave_id WHERE w.campaign_id = %s
     GROUP BY 1 HAVING count(*) > %s
), taken AS (
    DELETE FROM campaigns_tally t USING long WHERE t.wave_id = long.wave_id RETURNING t.wave_id, t.state, t.code, t.number
)
INSERT INTO campaigns_tally (wave_id, state, code, number)
SELECT wave_id, state, code, sum(number) FROM taken GROUP BY 1, 2, 3 HAVING sum(number) <> 0
"""


def fold_tallies(campaign: Campaign) -> None:
    """Sum up the tallies of waves of which many were added. The caller holds the campaign."""
    with connection.cursor() as cursor:
        cursor.execute(FOLD, [campaign.pk, MOST_ROWS])
