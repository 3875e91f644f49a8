"""What was credited for batches, held against what was settled: wrong credits become differences. Set-based."""

from collections.abc import Sequence
from datetime import date

from django.db import connection
from django.utils import timezone

from terminals.settlement.cases.differences import Found, note
from terminals.settlement.cases.rules import SUBJECTS, Subject
from terminals.settlement.credits.judging import Credited, days_over, judge_credit
from terminals.settlement.reconciliation.lines import recorded_of
from terminals.settlement.reconciliation.rules import DifferenceKind, adding_up
from terminals.settlement.transactions.services import BatchKey, columns_of, of_batches

OF_CREDIT = [
    kind
    for kind, subject in SUBJECTS.items()
    if subject is Subject.CREDIT and kind is not DifferenceKind.UNKNOWN_TERMINAL
]

# Raw, all of this module's: the ORM cannot ask for pairs of columns, nor give each line to the credit that names it most exactly.
# Only what is not the same on both sides is returned.
COMPARE = """
WITH k AS MATERIALIZED (SELECT * FROM unnest(%(terminals)s::bigint[], %(numbers)s::integer[]) AS k(terminal_id, batch_number)),
credits AS MATERIALIZED (SELECT c.* FROM k JOIN settlement_batchcredit c USING (terminal_id, batch_number)),
expected AS (
    SELECT l.terminal_id, l.batch_number, l.currency, c.method, c.scheme,
           sum(CASE l.kind WHEN 'sale' THEN 1 WHEN 'declined' THEN 0 ELSE -1 END * l.reported_minor)::bigint AS minor
      FROM k JOIN settlement_batchtotal l USING (terminal_id, batch_number)
      LEFT JOIN LATERAL (
            SELECT c.method, c.scheme FROM settlement_batchcredit c
             WHERE c.terminal_id = l.terminal_id AND c.batch_number = l.batch_number AND c.currency = l.currency
               AND c.method IN ('', l.method) AND c.scheme IN ('', l.scheme)
             ORDER BY c.scheme <> '' DESC, c.method <> '' DESC LIMIT 1) AS c ON true
     WHERE l.kind <> 'declined'
     GROUP BY 1, 2, 3, 4, 5
)
SELECT coalesce(e.terminal_id, c.terminal_id), coalesce(e.batch_number, c.batch_number), coalesce(e.currency, c.currency),
       coalesce(c.method, ''), coalesce(c.scheme, ''), coalesce(e.minor, 0), coalesce(c.net_minor + c.fee_minor, 0),
       coalesce(c.entry_count, 0), coalesce(c.fee_most_bp, 0), coalesce(c.other_account, ''),
       CASE WHEN b.credit_due_on < %(today)s THEN b.credit_due_on END
  FROM expected e
  FULL JOIN credits c ON (c.terminal_id, c.batch_number, c.currency, c.method, c.scheme)
                       = (e.terminal_id, e.batch_number, e.currency, e.method, e.scheme)
  LEFT JOIN settlement_batch b ON b.terminal_id = coalesce(e.terminal_id, c.terminal_id)
        AND b.batch_number = coalesce(e.batch_number, c.batch_number) AND b.currency = coalesce(e.currency, c.currency)
 WHERE coalesce(e.minor, 0) <> coalesce(c.net_minor + c.fee_minor, 0) OR c.other_account <> ''
"""
# Raw: as above.
CREDITED = """
SELECT DISTINCT terminal_id, batch_number FROM settlement_batchcredit
  JOIN unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number) USING (terminal_id, batch_number)
"""
# Raw: as above.
OPEN = """
SELECT DISTINCT terminal_id, batch_number FROM settlement_difference
  JOIN unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number) USING (terminal_id, batch_number)
 WHERE is_open AND kind = ANY(%s)
"""


def compare_settled(keys: Sequence[BatchKey]) -> None:
    """Batches were settled by now: those that were credited before are compared. One statement where none was."""
    with connection.cursor() as cursor:
        cursor.execute(CREDITED, columns_of(keys))
        credited = cursor.fetchall()
    if credited:
        compare(credited)


def compare(keys: Sequence[BatchKey]) -> None:
    """Note what is wrong with batches' credits, and what is no more: four statements and those of what is noted."""
    with connection.cursor() as cursor:
        cursor.execute(
            COMPARE,
            {
                "terminals": [key[0] for key in keys],
                "numbers": [key[1] for key in keys],
                "today": days_over(timezone.now()),
            },
        )
        rows = cursor.fetchall()
        cursor.execute(OPEN, [*columns_of(keys), [kind.value for kind in OF_CREDIT]])
        concerned = set(cursor.fetchall())
    found = [one for row in rows for one in _found(*row[:5], credited=Credited(*row[5:]))]
    concerned |= {(one.terminal_id, one.batch_number) for one in found}
    if concerned:
        note(_with_suspects(found), of=of_batches(sorted(concerned)), kinds=OF_CREDIT)


def _found(
    terminal_id: int, batch_number: int, currency: str, method: str, scheme: str, *, credited: Credited
) -> list[Found]:
    return [
        Found(
            terminal_id,
            batch_number,
            kind,
            currency,
            method,
            scheme,
            expected_minor=0 if kind is DifferenceKind.OTHER_ACCOUNT else credited.expected_minor,
            found_minor=credited.credited_minor,
            found_count=credited.entries,
            detail=_detail(kind, credited),
        )
        for kind in judge_credit(credited)
    ]


def _detail(kind: DifferenceKind, credited: Credited) -> str:
    if kind is DifferenceKind.OTHER_ACCOUNT:
        return credited.other_account
    due: date | None = credited.overdue
    return due.isoformat() if kind is DifferenceKind.NOT_CREDITED and due is not None else ""


def _with_suspects(found: Sequence[Found]) -> list[Found]:
    """Name the recorded transactions that make up just what a credit is short of, or too much."""
    wanted = {DifferenceKind.CREDITED_SHORT, DifferenceKind.CREDITED_OVER}
    keys = sorted(
        {(one.terminal_id, one.batch_number) for one in found if one.kind in wanted and one.terminal_id is not None}
    )
    recorded = recorded_of(keys) if keys else {}  # type: ignore[arg-type]
    told = []
    for one in found:
        if one.kind in wanted:
            amount = abs(one.expected_minor - one.found_minor)
            mine = [
                each
                for (terminal_id, number, currency, method, scheme, kind), several in recorded.items()
                if (terminal_id, number, currency) == (one.terminal_id, one.batch_number, one.currency)
                and one.method in ("", method)
                and one.scheme in ("", scheme)
                and kind == "sale"
                for each in several
            ]
            one = one._replace(suspects=tuple(each.id for each in adding_up(mine, 1, amount)))
        told.append(one)
    return told
