"""A report's figures, worked out from settled batches' lines, their credits and their differences: no transaction is read."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.db import connection

from terminals.common.scope import Reach
from terminals.estate.models import Merchant, Organisation, Store, Terminal
from terminals.settlement.cases.rules import Subject
from terminals.settlement.reports.rules import Figures, Spec, added


class Row(NamedTuple):
    """One line of a report: whose it is, on which day (None: of the whole period), and what was settled in one currency."""

    key: int | None
    day: date | None
    figures: Figures


# Raw: three sums of each batch side by side, which the ORM would multiply with each other. Batches of the period are found by
# the day to which they belong, terminals by where they stand; what one batch was paid too much pays for no other.
FIGURES = """
WITH batches AS MATERIALIZED (
    SELECT r.terminal_id, r.batch_number, CASE WHEN %(by_day)s THEN r.settled_on END AS day,
           CASE %(level)s WHEN 'terminal' THEN t.id WHEN 'store' THEN t.store_id WHEN 'merchant' THEN s.merchant_id
                          ELSE m.organisation_id END AS key
      FROM settlement_settlementrun r
      JOIN terminals_terminal t ON t.id = r.terminal_id
      JOIN terminals_store s ON s.id = t.store_id
      JOIN terminals_merchant m ON m.id = s.merchant_id
     WHERE r.settled_on BETWEEN %(first)s AND %(last)s AND r.batch_number IS NOT NULL
       AND EXISTS (SELECT 1 FROM unnest(%(paths)s::text[]) AS p WHERE starts_with(t.path, p))
), told AS (
    SELECT terminal_id, batch_number, l.currency, 1 AS batches,
           sum(l.reported_count) FILTER (WHERE l.kind <> 'declined') AS transactions,
           sum(s.sign * l.reported_minor) FILTER (WHERE l.method = 'card') AS card,
           sum(s.sign * l.reported_minor) FILTER (WHERE l.method = 'qr') AS qr,
           sum(s.sign * l.reported_minor) AS settled, sum(s.sign * l.recorded_minor) AS recorded
      FROM batches
      JOIN settlement_batchtotal l USING (terminal_id, batch_number)
     CROSS JOIN LATERAL (SELECT CASE l.kind WHEN 'sale' THEN 1 WHEN 'declined' THEN 0 ELSE -1 END AS sign) AS s
     GROUP BY 1, 2, 3
), paid AS (
    SELECT terminal_id, batch_number, c.currency, sum(c.net_minor) AS net, sum(c.fee_minor) AS fee, max(c.fee_most_bp) AS borne
      FROM batches JOIN settlement_batchcredit c USING (terminal_id, batch_number)
     GROUP BY 1, 2, 3
), differing AS (
    -- Records, settling and credit may speak of the same money: the largest of the three stands.
    SELECT terminal_id, batch_number, currency, max(open) AS open
      FROM (SELECT d.terminal_id, d.batch_number, d.currency, c.subject, sum(abs(d.expected_minor - d.found_minor)) AS open
              FROM batches
              JOIN settlement_difference d USING (terminal_id, batch_number)
              JOIN settlement_case c ON c.id = d.case_id
             WHERE d.is_open AND c.subject <> %(risk)s
             GROUP BY 1, 2, 3, 4) AS of_subjects
     GROUP BY 1, 2, 3
), whole AS (
    -- What the acquirer may keep without saying so is owed no more.
    SELECT *, CASE WHEN coalesce(settled, 0) - coalesce(net, 0) - coalesce(fee, 0)
                        BETWEEN 1 AND abs(settled) * coalesce(borne, 0) / 10000
                   THEN 0 ELSE coalesce(settled, 0) - coalesce(net, 0) - coalesce(fee, 0) END AS owed
      FROM told
      FULL JOIN paid USING (terminal_id, batch_number, currency)
      FULL JOIN differing USING (terminal_id, batch_number, currency)
)
SELECT key, day, currency, sum(batches)::bigint, sum(transactions)::bigint, sum(card)::bigint, sum(qr)::bigint,
       sum(settled)::bigint, sum(recorded)::bigint, sum(net)::bigint, sum(fee)::bigint, sum(greatest(owed, 0))::bigint,
       sum(greatest(-owed, 0))::bigint, sum(open)::bigint
  FROM batches JOIN whole USING (terminal_id, batch_number)
 GROUP BY 1, 2, 3 ORDER BY 2 NULLS FIRST, 1 NULLS LAST, 3
"""


# Raw: see above.
FIRST = """
 LIMIT %(most)s
"""


def rows_of(spec: Spec, paths: Sequence[str], *, most: int | None = None) -> list[Row]:
    """Return a report's rows below places of the tree (`""` is everywhere), in order, at most so many: one statement."""
    with connection.cursor() as cursor:
        cursor.execute(FIGURES + FIRST, {**_said(spec, paths), "most": most})
        return [Row(key, day, _figures(currency, sums)) for key, day, currency, *sums in cursor.fetchall()]


def _said(spec: Spec, paths: Sequence[str]) -> dict[str, Any]:
    first, last = spec.period
    return {
        "level": spec.level,
        "first": first,
        "last": last,
        "by_day": spec.by_day,
        "paths": list(paths),
        "risk": Subject.RISK.value,
    }


def _figures(currency: str, sums: Sequence[Any]) -> Figures:
    return Figures(currency, *(int(n or 0) for n in sums))


# Raw: see above. A closed day's figures beside what they are now, where they are others; as many of them as there are in all.
CHANGED = """
WITH present AS (
"""
# Raw: see above.
AGAINST = """
)
SELECT count(*) OVER (), coalesce(p.key, f.terminal_id), coalesce(p.currency, f.currency),
       f.batches, f.transactions, f.card_minor, f.qr_minor, f.settled_minor, f.recorded_minor, f.credited_minor, f.fee_minor,
       f.outstanding_minor, f.excess_minor, f.open_difference_minor, p.*
  FROM present p (key, day, currency, batches, transactions, card, qr, settled, recorded, net, fee, owed, excess, open)
  FULL JOIN (SELECT * FROM settlement_dailyfigure WHERE close_id = %(close)s) f
    ON f.terminal_id = p.key AND f.currency = p.currency
 WHERE (f.batches, f.transactions, f.card_minor, f.qr_minor, f.settled_minor, f.recorded_minor, f.credited_minor, f.fee_minor,
        f.outstanding_minor, f.excess_minor, f.open_difference_minor)
       IS DISTINCT FROM (p.batches, coalesce(p.transactions, 0), coalesce(p.card, 0), coalesce(p.qr, 0), coalesce(p.settled, 0),
        coalesce(p.recorded, 0), coalesce(p.net, 0), coalesce(p.fee, 0), p.owed, p.excess, coalesce(p.open, 0))
 ORDER BY 2, 3 LIMIT %(most)s
"""


class Change(NamedTuple):
    """A terminal's figures of a closed day that are others by now."""

    terminal_id: int
    then: Figures
    now: Figures


def changed(spec: Spec, paths: Sequence[str], close_id: int, most: int) -> tuple[int, list[Change]]:
    """Return how many terminals' figures differ from those that a close has kept, and the first of them: one statement."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGED + FIGURES + AGAINST, {**_said(spec, paths), "close": close_id, "most": most})
        rows = cursor.fetchall()
    count = rows[0][0] if rows else 0
    width = len(Figures._fields) - 1
    return count, [
        Change(pk, _figures(currency, rest[:width]), _figures(currency, rest[width + 3 :]))
        for _count, pk, currency, *rest in rows
    ]


def totals_of(rows: Iterable[Row]) -> list[Figures]:
    """Return rows added up, a currency each."""
    sums: dict[str, Figures] = {}
    for row in rows:
        known = sums.get(row.figures.currency)
        sums[row.figures.currency] = added(known, row.figures) if known else row.figures
    return [sums[currency] for currency in sorted(sums)]


MODELS: dict[str, Any] = {"organisation": Organisation, "merchant": Merchant, "store": Store, "terminal": Terminal}


def names_of(level: str, keys: Iterable[int | None]) -> dict[int, tuple[str, str]]:
    """Return what people call the objects of a level, and where these are: (name, where)."""
    wanted = {key for key in keys if key is not None}
    rows = MODELS[level].objects.filter(pk__in=wanted)
    if level == "terminal":
        found = rows.values_list("pk", "serial", "store__name", "store__merchant__name")
        return {pk: (serial, f"{store}, {merchant}") for pk, serial, store, merchant in found}
    if level == "store":
        return {pk: (name, merchant) for pk, name, merchant in rows.values_list("pk", "name", "merchant__name")}
    return {pk: (name, "") for pk, name in rows.values_list("pk", "name")}


def places(reach: Reach, node: tuple[str, int] | None) -> list[str] | None:
    """Return the places of the tree that a report is about: all of somebody's reach, or a node within it; None where that node is
    out of reach or is none."""
    if node is None:
        return list(reach.paths) or None
    found = MODELS[node[0]].objects.filter(pk=node[1]).values_list("path", flat=True).first()
    return [found] if found is not None and reach.covers(found) else None
