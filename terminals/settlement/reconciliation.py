"""What terminals report of their money, held against each other: transactions, settled batches, and their comparison.

A batch is settled once: the first report stands. A transaction that arrives after its batch was settled makes that
settlement be compared again.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models.expressions import RawSQL

from terminals.common.facts.services import record_facts
from terminals.link.protocol.messages.settlement import Settlement, Transactions
from terminals.settlement import rules, services
from terminals.settlement.facts import (
    BatchSettled,
    ForeignCurrency,
    HostAnswered,
    SettledBefore,
    SettledTwice,
    TotalsDiffer,
)
from terminals.settlement.models import Batch, RunTotal, SettlementRun

BatchKey = tuple[int, int]


class Upload(NamedTuple):
    """Transactions of one batch as a terminal uploaded them."""

    terminal_id: int
    received_at: datetime
    body: Transactions


class Report(NamedTuple):
    """A terminal's word that it closed a batch with the host."""

    terminal_id: int
    received_at: datetime
    body: Settlement

    @property
    def key(self) -> BatchKey:
        return self.terminal_id, self.body.batch_number


# Raw: the ORM cannot build on the rows that an insert with conflicts wrote. New transactions only: one that came twice
# adds nothing to its batch.
RECORD = """
WITH fresh AS (
    INSERT INTO settlement_transaction (terminal_id, transaction_id, batch_number, kind, method, amount_minor, currency,
                                        approval_code, card_last4, occurred_at, received_at)
    SELECT terminal_id, transaction_id, batch_number, kind, method, amount_minor, currency, approval_code, card_last4,
           occurred_at, received_at
      FROM json_to_recordset(%s) AS r(terminal_id bigint, transaction_id uuid, batch_number integer, kind text, method text,
               amount_minor bigint, currency text, approval_code text, card_last4 text, occurred_at timestamptz,
               received_at timestamptz)
    ON CONFLICT DO NOTHING
    RETURNING terminal_id, batch_number, currency, CASE kind WHEN 'sale' THEN amount_minor ELSE -amount_minor END AS net
)
INSERT INTO settlement_batch AS b (terminal_id, batch_number, currency, net_minor, transaction_count, closed)
SELECT terminal_id, batch_number, currency, sum(net), count(*), false
  FROM fresh GROUP BY terminal_id, batch_number, currency ORDER BY terminal_id, batch_number, currency
ON CONFLICT (terminal_id, batch_number, currency) DO UPDATE
   SET net_minor = b.net_minor + excluded.net_minor, transaction_count = b.transaction_count + excluded.transaction_count
RETURNING terminal_id, batch_number,
          EXISTS (SELECT 1 FROM settlement_batch c  -- it came late: its batch is settled, be it in another currency
                   WHERE c.terminal_id = b.terminal_id AND c.batch_number = b.batch_number AND c.closed)
"""


def record_transactions(uploads: Sequence[Upload]) -> None:
    """Record transactions, add them to their batches, and make terminals due whose batch reached its threshold."""
    rows = [
        {
            "terminal_id": upload.terminal_id,
            "transaction_id": record.id,
            "batch_number": upload.body.batch_number,
            "kind": record.kind,
            "method": record.method,
            "amount_minor": record.amount_minor,
            "currency": record.currency,
            "approval_code": record.approval_code,
            "card_last4": record.card_last4,
            "occurred_at": record.occurred_at,
            "received_at": upload.received_at,
        }
        for upload in uploads
        for record in upload.body.records
    ]
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [msgspec.json.encode(rows).decode()])
        touched: list[tuple[int, int, bool]] = cursor.fetchall()
    late = {(terminal_id, number) for terminal_id, number, closed in touched if closed}
    if late:
        _compare(sorted(late))
    services.mark_over_threshold({terminal_id for terminal_id, _, _ in touched}, uploads[-1].received_at)


def settle_batches(reported: Sequence[Report]) -> None:
    """Close batches by what terminals report and compare it with what they recorded.

    A report belongs to the run whose command it names, else to a run of its own: the terminal settled unasked.
    """
    known = {(run.terminal_id, cast(int, run.batch_number)) for run in _settled([report.key for report in reported])}
    reports: dict[BatchKey, Report] = {}
    repeated: list[Report] = []
    for report in reported:
        if report.key in known or report.key in reports:
            repeated.append(report)
        else:
            reports[report.key] = report
    _refuse_repeated(repeated)
    runs = _runs_for(reports)
    _store_totals(runs, reports)
    _close_batches(reports)
    _compare(list(reports))
    record_facts((run.terminal_id, _fact(run)) for run in _settled(list(reports)))


def _refuse_repeated(repeated: Sequence[Report]) -> None:
    """Say that a batch was reported again, and end the run that was answered by it."""
    record_facts((report.terminal_id, SettledTwice(batch_number=report.body.batch_number)) for report in repeated)
    services.fail_repeated(
        {(r.terminal_id, r.body.command_id): SettledBefore(r.body.batch_number) for r in repeated if r.body.command_id}
    )


def _runs_for(reports: dict[BatchKey, Report]) -> dict[BatchKey, SettlementRun]:
    """Return a saved run for each report: the one that asked for it, or a new one."""
    asked: dict[tuple[int, UUID], SettlementRun] = {
        (run.terminal_id, cast(UUID, run.command_id)): run
        for run in SettlementRun.objects.filter(
            command__in=[report.body.command_id for report in reports.values() if report.body.command_id],
            batch_number=None,
        ).select_for_update()
    }
    runs: dict[BatchKey, SettlementRun] = {}
    for key, (_, received_at, body) in reports.items():
        run = asked.pop((key[0], body.command_id), None) if body.command_id else None
        if run is None:
            run = SettlementRun(terminal_id=key[0], trigger="terminal", requested_at=received_at)
        run.batch_number, run.currency, run.host_response = body.batch_number, body.currency, body.host_response
        run.state, run.finished_at = (
            rules.RunTransition.unbalance.after(run.state),
            received_at,
        )  # till the comparison says better
        run.closed_at = body.closed_at
        runs[key] = run
    fields = ["closed_at", "batch_number", "currency", "host_response", "state", "finished_at"]
    SettlementRun.objects.bulk_update([run for run in runs.values() if run.pk], fields)
    SettlementRun.objects.bulk_create([run for run in runs.values() if not run.pk])
    return runs


def _store_totals(runs: dict[BatchKey, SettlementRun], reports: dict[BatchKey, Report]) -> None:
    RunTotal.objects.bulk_create(
        RunTotal(
            run=runs[key],
            method=total.method,
            reported_sale_count=total.sale_count,
            reported_sale_minor=total.sale_minor,
            reported_refund_count=total.refund_count,
            reported_refund_minor=total.refund_minor,
        )
        for key, report in reports.items()
        for total in {total.method: total for total in report.body.totals}.values()
    )


def _close_batches(reports: dict[BatchKey, Report]) -> None:
    """Mark batches closed in the currency in which they were settled; money in another one stays unsettled, and shows.

    A batch without any transaction gets its row now, so that late ones find it closed.
    """
    rows = sorted((*key, report.body.currency) for key, report in reports.items())
    Batch.objects.bulk_create(
        [
            Batch(terminal_id=pk, batch_number=number, currency=currency, net_minor=0, transaction_count=0, closed=True)
            for pk, number, currency in rows
        ],
        update_conflicts=True,
        unique_fields=["terminal", "batch_number", "currency"],
        update_fields=["closed"],
    )


# Raw: the ORM cannot ask for pairs of columns.
RUNS = """
SELECT r.id FROM settlement_settlementrun r
  JOIN unnest(%s::bigint[], %s::integer[]) AS w(terminal_id, batch_number) USING (terminal_id, batch_number)
"""


def _settled(keys: list[BatchKey]) -> list[SettlementRun]:
    """Return the runs of these batches with their totals loaded: two queries."""
    columns = [[key[0] for key in keys], [key[1] for key in keys]]
    chosen = RawSQL(RUNS, columns)  # noqa: S611 - the statement is a constant
    return list(SettlementRun.objects.filter(pk__in=chosen).prefetch_related("totals"))


def _compare(keys: list[BatchKey]) -> None:
    """Hold each settled batch's reported totals against its recorded transactions and set its run's state.

    Where a comparison comes out otherwise than before, the terminal's timeline says so.
    """
    recorded = _recorded_totals(keys)
    runs, totals = _settled(keys), []
    changed: list[SettlementRun] = []
    for run in runs:
        by_currency = dict(recorded[run.terminal_id, cast(int, run.batch_number)])
        mine = by_currency.pop(run.currency, {})
        rows = {total.method: total for total in run.totals.all()}
        reported = {method: _reported(total) for method, total in rows.items()}
        comparison = rules.compare(reported, mine)
        run.reasons = [] if run.host_response == "00" else [HostAnswered(run.host_response).stored()]
        run.reasons += [_in_another(currency, by_currency[currency]) for currency in sorted(by_currency)]
        run.reasons += [_differs(run.currency, *one) for one in rules.differences(reported, mine)]
        balances = comparison.balanced and not run.reasons
        transition = rules.RunTransition.balance if balances else rules.RunTransition.unbalance
        before = run.state, run.difference_minor
        run.state, run.difference_minor = transition.after(run.state), comparison.difference_minor
        if before[1] is not None and before != (run.state, run.difference_minor):
            changed.append(run)
        run.reported_minor = sum(total.net_minor for total in reported.values())
        for method, recorded_total in mine.items():
            row = rows.get(method) or RunTotal(run=run, method=method)
            for name, value in recorded_total._asdict().items():
                setattr(row, f"recorded_{name}", value)
            totals.append(row)
    SettlementRun.objects.bulk_update(runs, ["state", "difference_minor", "reported_minor", "reasons"])
    record_facts((run.terminal_id, _fact(run, late=True)) for run in changed)
    columns = [f"recorded_{name}" for name in rules.Totals._fields]
    RunTotal.objects.bulk_create(totals, update_conflicts=True, unique_fields=["run", "method"], update_fields=columns)


def _in_another(currency: str, totals: dict[str, rules.Totals]) -> dict[str, Any]:
    net = sum(total.net_minor for total in totals.values())
    count = sum(total.sale_count + total.refund_count for total in totals.values())
    return ForeignCurrency(currency, net_minor=net, count=count).stored()


def _differs(
    currency: str, method: str, kind: str, reported: tuple[int, int], recorded: tuple[int, int]
) -> dict[str, Any]:
    return TotalsDiffer(method, kind, currency, *reported, *recorded).stored()


# Raw: totals of many batches by method and currency in one pass.
RECORDED = """
SELECT t.terminal_id, t.batch_number, t.currency, t.method,
       count(*) FILTER (WHERE kind = 'sale'), coalesce(sum(amount_minor) FILTER (WHERE kind = 'sale'), 0)::bigint,
       count(*) FILTER (WHERE kind = 'refund'), coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0)::bigint
  FROM settlement_transaction t
  JOIN unnest(%s::bigint[], %s::integer[]) AS w(terminal_id, batch_number) USING (terminal_id, batch_number)
 GROUP BY 1, 2, 3, 4
"""


def _recorded_totals(keys: list[BatchKey]) -> dict[BatchKey, dict[str, dict[str, rules.Totals]]]:
    """Return batch -> currency -> method -> totals, as the uploaded transactions add up."""
    found: dict[BatchKey, dict[str, dict[str, rules.Totals]]] = defaultdict(lambda: defaultdict(dict))
    with connection.cursor() as cursor:
        cursor.execute(RECORDED, [[key[0] for key in keys], [key[1] for key in keys]])
        for terminal_id, batch_number, currency, method, *numbers in cursor.fetchall():
            found[terminal_id, batch_number][currency][method] = rules.Totals(*numbers)
    return found


def _reported(total: RunTotal) -> rules.Totals:
    return rules.Totals(
        total.reported_sale_count, total.reported_sale_minor, total.reported_refund_count, total.reported_refund_minor
    )


def _fact(run: SettlementRun, *, late: bool = False) -> BatchSettled:
    return BatchSettled(
        batch_number=cast(int, run.batch_number),
        currency=run.currency,
        reported_minor=run.reported_minor or 0,
        difference_minor=run.difference_minor or 0,
        balanced=run.state == rules.RunState.BALANCED,
        reasons=run.reasons,
        late=late,
    )
