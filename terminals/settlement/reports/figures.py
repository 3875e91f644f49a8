"""A report's figures, worked out from settled batches' lines, their credits and their differences: no transaction is read."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.db import connection

from terminals.common.scope import Reach
from terminals.estate.models import Merchant, Organisation, Store, Terminal
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
    SELECT terminal_id, batch_number, c.currency, sum(c.net_minor) AS net, sum(c.fee_minor) AS fee
      FROM batches JOIN settlement_batchcredit c USING (terminal_id, batch_number)
     GROUP BY 1, 2, 3
), differing AS (
    SELECT terminal_id, batch_number, d.currency, sum(abs(d.expected_minor - d.found_minor)) AS open
      FROM batches JOIN settlement_difference d USING (terminal_id, batch_number)
     WHERE d.is_open
     GROUP BY 1, 2, 3
), whole AS (
    SELECT *, coalesce(settled, 0) - coalesce(net, 0) - coalesce(fee, 0) AS owed
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


def rows_of(spec: Spec, paths: Sequence[str]) -> list[Row]:
    """Return a report's rows below places of the tree (`""` is everywhere), in order: one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            FIGURES,
            {
                "level": spec.level,
                "first": spec.period.first,
                "last": spec.period.last,
                "by_day": spec.by_day,
                "paths": list(paths),
            },
        )
        found = cursor.fetchall()
    return [Row(key, day, Figures(currency, *(int(n or 0) for n in sums))) for key, day, currency, *sums in found]


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
