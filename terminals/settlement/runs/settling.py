"""What terminals report of their money, held against each other: uploads, settled batches, and their comparison.

A batch is settled once: the first report stands. A transaction that arrives after its batch was settled makes that settlement
be compared again. Terminals are held by the inbox, so that nobody else changes a batch meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db import connection
from django.db.models import Q

from terminals.common.facts.services import record_facts
from terminals.common.sql import id_set
from terminals.link.outcomes import supersede_commands
from terminals.link.protocol.messages.settlement import Settlement
from terminals.settlement.cases.differences import Found, note
from terminals.settlement.credits.comparing import compare_settled
from terminals.settlement.plans.thresholds import mark_over_threshold
from terminals.settlement.reconciliation.rules import DifferenceKind
from terminals.settlement.risk.services import profile_again
from terminals.settlement.rules import LAST_BATCH_NUMBER
from terminals.settlement.runs.comparing import Compared, Reasons, compare
from terminals.settlement.runs.facts import BatchSettled, SettledBefore, SettledTwice
from terminals.settlement.runs.models import OPEN_VALUES
from terminals.settlement.runs.rules import RunState, RunTransition
from terminals.settlement.runs.services import fail_repeated
from terminals.settlement.transactions import gaps
from terminals.settlement.transactions.services import BatchKey, Upload, columns_of, record_transactions

LATE = timedelta(days=31)  # a close that is further back, or ahead, is a wrong clock's
LEFT_BEHIND = (DifferenceKind.UNCLOSED_BATCH, DifferenceKind.NOT_SETTLED)


class Report(NamedTuple):
    """A terminal's word that it closed a batch with the host."""

    terminal_id: int
    received_at: datetime
    body: Settlement

    @property
    def key(self) -> BatchKey:
        return self.terminal_id, self.body.batch_number


def take_uploads(uploads: Sequence[Upload]) -> None:
    """Record transactions, compare anew what was settled before, and make terminals due whose batch reached a limit."""
    recorded = record_transactions(uploads)
    if recorded.late:
        compared = compare(sorted(recorded.late))
        profile_again(sorted(recorded.late))
        record_facts((run.terminal_id, _fact(run, reasons, late=True)) for run, reasons in compared if run.changed)
    if recorded.terminal_ids:
        mark_over_threshold(recorded.terminal_ids, uploads[-1].received_at)


def settle_batches(reported: Sequence[Report]) -> None:
    """Close batches by what terminals report and compare it with what they recorded: a fixed number of statements.

    A report belongs to the run whose command it names, else to a run of its own: the terminal settled unasked.
    """
    known = _settled_before([report.key for report in reported])
    reports: dict[BatchKey, Report] = {}
    repeated: list[Report] = []
    for report in reported:
        if report.key in known or report.key in reports:
            repeated.append(report)
        else:
            reports[report.key] = report
    if repeated:
        _refuse_repeated(repeated)
    if reports:
        _store(reports)
        counts = {key: report.body.transaction_count for key, report in reports.items()}
        gaps.expect({key: count for key, count in counts.items() if count is not None})
        record_facts((run.terminal_id, _fact(run, reasons)) for run, reasons in compare(sorted(reports)))
        _note_left_open(list(reports))
        compare_settled(list(reports))


# Raw: the ORM cannot ask for pairs of columns. Money in batches that were opened before the one that was settled.
LEFT_OPEN = """
SELECT b.terminal_id, b.batch_number, b.currency, b.transaction_count, b.net_minor
  FROM unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number)
  JOIN settlement_batch b ON b.terminal_id = k.terminal_id AND NOT b.closed AND b.transaction_count > 0
   AND (k.batch_number - b.batch_number + %s) %% %s BETWEEN 1 AND %s / 2
"""


def _note_left_open(keys: Sequence[BatchKey]) -> None:
    """A terminal that settles a batch has done what it failed to do before; money in an earlier one is left behind."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT_OPEN, [*columns_of(keys), *[LAST_BATCH_NUMBER] * 3])
        rows = cursor.fetchall()
    found = [
        Found(pk, number, DifferenceKind.UNCLOSED_BATCH, currency, expected_count=count, expected_minor=net)
        for pk, number, currency, count, net in rows
    ]
    note(found, of=Q(terminal__in=id_set(key[0] for key in keys)), kinds=LEFT_BEHIND)


def _refuse_repeated(repeated: Sequence[Report]) -> None:
    """Say that a batch was reported again, and end the run that was answered by it."""
    record_facts((report.terminal_id, SettledTwice(batch_number=report.body.batch_number)) for report in repeated)
    fail_repeated(
        {(r.terminal_id, r.body.command_id): SettledBefore(r.body.batch_number) for r in repeated if r.body.command_id}
    )


# Raw, all of this module's: the ORM cannot ask for pairs of columns, nor write many rows from what they hold already.
KNOWN = """
SELECT terminal_id, batch_number FROM settlement_settlementrun
  JOIN unnest(%s::bigint[], %s::integer[]) AS k(terminal_id, batch_number) USING (terminal_id, batch_number)
"""


def _settled_before(keys: Sequence[BatchKey]) -> set[BatchKey]:
    with connection.cursor() as cursor:
        cursor.execute(KNOWN, columns_of(keys))
        return set(cursor.fetchall())


# Raw: the run whose command is named, or the open one where an earlier attempt's command is; until the comparison says better
# it does not balance. Its day is the business day for which it was asked, else that of its close by the store's clock.
TAKE_ASKED = """
WITH said AS (
    SELECT * FROM json_to_recordset(%(reports)s) AS r(terminal_id bigint, received_at timestamptz, batch_number integer,
        currency text, host_response text, host_fields jsonb, command_id uuid, opened_at timestamptz, closed_at timestamptz,
        upload_complete boolean, place text)
)
UPDATE settlement_settlementrun r
   SET batch_number = s.batch_number, currency = s.currency, host_response = s.host_response, host_fields = s.host_fields,
       opened_at = s.opened_at, closed_at = s.closed_at, upload_complete = s.upload_complete, state = %(unbalanced)s,
       finished_at = s.received_at, retry_at = NULL, place = s.place, to_profile = true,
       settled_on = coalesce(r.business_day, d.day)
  FROM said s JOIN LATERAL (
        SELECT (CASE WHEN s.closed_at BETWEEN s.received_at - %(late)s::interval AND s.received_at THEN s.closed_at
                     ELSE s.received_at END AT TIME ZONE st.time_zone)::date AS day
          FROM terminals_terminal t JOIN terminals_store st ON st.id = t.store_id WHERE t.id = s.terminal_id) AS d ON true
 WHERE s.command_id IS NOT NULL AND r.state = ANY(%(sources)s) AND r.id = (
        SELECT x.id FROM settlement_settlementrun x
         WHERE x.terminal_id = s.terminal_id AND x.batch_number IS NULL
           AND (x.command_id = s.command_id OR x.state = ANY(%(open)s))
         ORDER BY x.command_id = s.command_id DESC NULLS LAST, x.id DESC LIMIT 1)
RETURNING r.terminal_id, r.batch_number, r.command_id IS DISTINCT FROM s.command_id
"""
# Raw: the same rows, for those whom nobody asked.
MAKE_UNASKED = """
WITH said AS (
    SELECT * FROM json_to_recordset(%(reports)s) AS r(terminal_id bigint, received_at timestamptz, batch_number integer,
        currency text, host_response text, host_fields jsonb, command_id uuid, opened_at timestamptz, closed_at timestamptz,
        upload_complete boolean, place text)
)
INSERT INTO settlement_settlementrun (terminal_id, trigger, state, requested_at, attempt, problems, finished_at, opened_at,
    closed_at, batch_number, currency, host_response, host_fields, upload_complete, reasons, place, to_profile,
    settled_on)
SELECT terminal_id, 'terminal', %(unbalanced)s, received_at, 1, '[]', received_at, opened_at, closed_at, batch_number, currency,
       host_response, host_fields, upload_complete, '[]', place, true,
       (CASE WHEN closed_at BETWEEN received_at - %(late)s::interval AND received_at THEN closed_at
             ELSE received_at END AT TIME ZONE st.time_zone)::date
  FROM said JOIN terminals_terminal t ON t.id = said.terminal_id JOIN terminals_store st ON st.id = t.store_id
"""
# Raw: an upsert of one side of the lines.
REPORT = """
INSERT INTO settlement_batchtotal AS l (terminal_id, batch_number, currency, method, scheme, kind, reported_count, reported_minor,
                                        recorded_count, recorded_minor)
SELECT terminal_id, batch_number, t.currency, method, scheme, kind, count, amount_minor, 0, 0
  FROM json_to_recordset(%s) AS r(terminal_id bigint, batch_number integer, totals json),
       json_to_recordset(r.totals) AS t(currency text, method text, scheme text, kind text, count integer, amount_minor bigint)
ON CONFLICT (terminal_id, batch_number, currency, method, scheme, kind) DO UPDATE
   SET reported_count = excluded.reported_count, reported_minor = excluded.reported_minor
"""
# Raw: closed in the currencies in which it was settled; money in another one stays unsettled, and shows. A batch without any
# transaction gets its row now, so that late ones find it closed. Whether its credit is watched stands in the terminal's plan.
CLOSE = """
INSERT INTO settlement_batch (terminal_id, batch_number, currency, net_minor, transaction_count, closed, awaits_credit)
SELECT c.terminal_id, batch_number, currency, 0, 0, true, coalesce(p.settings->>'credit_days', '') <> ''
  FROM unnest(%s::bigint[], %s::integer[], %s::text[]) AS c(terminal_id, batch_number, currency)
  LEFT JOIN settlement_settlementschedule s ON s.terminal_id = c.terminal_id
  LEFT JOIN settlement_effectiveplan p ON p.id = s.effective_id
ON CONFLICT (terminal_id, batch_number, currency) DO UPDATE SET closed = true, awaits_credit = excluded.awaits_credit
"""


def _store(reports: Mapping[BatchKey, Report]) -> None:
    """Write what terminals report: runs, lines, closed batches."""
    said = _said(reports.values())
    closed = sorted(
        (*key, currency)
        for key, report in reports.items()
        for currency in {report.body.currency, *(total.currency for total in report.body.totals)}
    )
    unbalanced = RunTransition.unbalance
    states: dict[str, Any] = {
        "unbalanced": unbalanced.target.value,
        "sources": [state.value for state in unbalanced.sources],
        "late": LATE,
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE_ASKED, {"reports": said, "open": OPEN_VALUES, **states})
        taken = {(terminal_id, number): other for terminal_id, number, other in cursor.fetchall()}
        if unasked := [report for key, report in reports.items() if key not in taken]:
            cursor.execute(MAKE_UNASKED, {"reports": _said(unasked), **states})
        cursor.execute(REPORT, [said])
        cursor.execute(CLOSE, [[row[0] for row in closed], [row[1] for row in closed], [row[2] for row in closed]])
    if overtaken := [terminal_id for (terminal_id, _), other in taken.items() if other]:
        supersede_commands(overtaken, ["settle"])  # the next attempt is not needed any more


def _said(reports: Iterable[Report]) -> str:
    rows = [
        {"terminal_id": report.terminal_id, "received_at": report.received_at, **msgspec.structs.asdict(report.body)}
        for report in reports
    ]
    return msgspec.json.encode(rows).decode()


def _fact(run: Compared, reasons: Reasons, *, late: bool = False) -> BatchSettled:
    return BatchSettled(
        batch_number=run.batch_number,
        currency=run.currency,
        reported_minor=run.reported_minor,
        difference_minor=run.difference_minor,
        balanced=run.state == RunState.BALANCED,
        reasons=reasons,
        late=late,
    )
