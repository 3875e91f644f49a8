"""Batches' lines and what is suspected of their differences. Reads only."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from terminals.settlement.cases.differences import Found
from terminals.settlement.reconciliation.rules import DifferenceKind, Finding, Line, Recorded, differing, judge
from terminals.settlement.transactions import gaps
from terminals.settlement.transactions.services import BatchKey, columns_of

# Raw, all of this module's: the ORM cannot ask for pairs of columns.
LINES = """
SELECT l.terminal_id, l.batch_number, l.currency, l.method, l.scheme, l.kind, l.reported_count, l.reported_minor,
       l.recorded_count, l.recorded_minor
  FROM settlement_batchtotal l
  JOIN unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number) USING (terminal_id, batch_number)
"""


def lines_of(keys: Sequence[BatchKey]) -> dict[BatchKey, list[Line]]:
    """Return the lines of batches: one statement."""
    found: dict[BatchKey, list[Line]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(LINES, columns_of(keys))
        for terminal_id, batch_number, *line in cursor.fetchall():
            found[terminal_id, batch_number].append(Line(*line))
    return found


MOST_READ = 1000  # transactions of a batch that are looked at for suspects
# Raw: see above. Only of the lines that differ.
RECORDED = """
SELECT k.terminal_id, k.batch_number, t.currency, t.method, t.scheme, t.kind, t.id, t.amount_minor, t.occurred_at,
       coalesce(nullif(t.card_token, ''), t.card_last4), coalesce(nullif(t.rrn, ''), nullif(t.stan, ''), t.approval_code),
       t.sequence
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
 CROSS JOIN LATERAL (SELECT * FROM settlement_transaction s
                      WHERE s.terminal_id = k.terminal_id AND s.batch_number = k.batch_number LIMIT %s) AS t
"""


class Wrong(NamedTuple):
    """A settled batch that does not balance, as far as its differences depend on it."""

    terminal_id: int
    batch_number: int
    currency: str
    host_response: str
    upload_complete: bool
    closed_at: datetime | None

    @property
    def key(self) -> BatchKey:
        return self.terminal_id, self.batch_number


def recorded_of(keys: Sequence[BatchKey]) -> dict[tuple[object, ...], list[Recorded]]:
    """Return the recorded transactions of batches by (terminal, batch, currency, method, scheme, kind), at most MOST_READ of a
    batch: one statement."""
    recorded: dict[tuple[object, ...], list[Recorded]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(RECORDED, [*columns_of(keys), MOST_READ])
        for terminal_id, batch_number, *rest in cursor.fetchall():
            recorded[terminal_id, batch_number, *rest[:4]].append(Recorded(*rest[4:]))
    return recorded


def differences_of(wrong: Sequence[Wrong], lines: Mapping[BatchKey, Sequence[Line]]) -> list[Found]:
    """Return what is wrong with batches, each with its suspects: two statements."""
    keys = [one.key for one in wrong]
    missing, recorded = gaps.missing(keys), recorded_of(keys)
    found: list[Found] = []
    for one in wrong:
        mine = lines.get(one.key, ())
        found += _about_the_whole(one)
        settled = {one.currency} | {line.currency for line in mine if line.reported_count}
        for line in differing(mine):
            if line.currency not in settled:
                found.append(_of_line(one, line, Finding(DifferenceKind.FOREIGN_CURRENCY, 0, 0)))
                continue
            suspects = recorded[(*one.key, line.currency, line.method, line.scheme, line.kind)]
            found.append(_of_line(one, line, judge(line, suspects, missing.get(one.key, ()), one.closed_at)))
    return found


def _about_the_whole(one: Wrong) -> list[Found]:
    found = []
    if one.host_response != "00":
        found.append(Found(*one.key, DifferenceKind.HOST, one.currency, detail=one.host_response))
    if not one.upload_complete:
        found.append(Found(*one.key, DifferenceKind.INCOMPLETE, one.currency))
    return found


def _of_line(one: Wrong, line: Line, finding: Finding) -> Found:
    """What was declined moved no money: a difference of its number is told, and nothing is at stake."""
    return Found(
        *one.key,
        finding.kind,
        line.currency,
        line.method,
        line.scheme,
        line.kind,
        line.reported_count,
        abs(line.reported_net),
        line.recorded_count,
        abs(line.recorded_net),
        finding.suspects,
        finding.missing,
    )
