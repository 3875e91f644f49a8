"""Recording what terminals upload: transactions, their batches' sums and lines, and how far their numbers have come."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import NamedTuple

import msgspec
from django.conf import settings
from django.db import connection
from django.db.models import Q

from terminals.common.partitions import Partitioned
from terminals.link.protocol.messages.settlement import Transactions

BatchKey = tuple[int, int]  # terminal, batch number
PARTITIONED = Partitioned("settlement_transaction", "occurred_at", settings.KEEP_TRANSACTIONS_MONTHS, our_clock=False)


def columns_of(keys: Sequence[BatchKey]) -> list[list[int]]:
    """Return batches as two columns, as raw statements take them."""
    return [[key[0] for key in keys], [key[1] for key in keys]]


def of_batches(keys: Iterable[BatchKey]) -> Q:
    """Return what holds for rows of these batches; for none where there are none."""
    return reduce(or_, (Q(terminal=terminal, batch_number=number) for terminal, number in keys), Q(terminal__in=[]))


class Upload(NamedTuple):
    """Transactions of one batch as a terminal uploaded them."""

    terminal_id: int
    received_at: datetime
    body: Transactions


class Recorded(NamedTuple):
    """The terminals that uploaded something new, and the batches among them that were settled before."""

    terminal_ids: set[int]
    late: set[BatchKey]


# Raw: the ORM cannot build on the rows that an insert with conflicts wrote. New transactions only: one that came twice
# adds nothing to its batch.
RECORD = """
WITH fresh AS (
    INSERT INTO settlement_transaction (terminal_id, transaction_id, batch_number, sequence, kind, method, scheme, amount_minor,
                                        currency, approval_code, card_last4, card_token, stan, rrn, occurred_at, received_at)
    SELECT terminal_id, id, batch_number, sequence, kind, method, scheme, amount_minor, currency, approval_code, card_last4,
           card_token, stan, rrn, occurred_at, received_at
      FROM json_to_recordset(%s) AS u(terminal_id bigint, batch_number integer, received_at timestamptz, records json),
           json_to_recordset(u.records) AS r(id uuid, sequence integer, kind text, method text, scheme text, amount_minor bigint,
               currency text, approval_code text, card_last4 text, card_token text, stan text, rrn text, occurred_at timestamptz)
    ON CONFLICT DO NOTHING
    RETURNING terminal_id, batch_number, sequence, currency, method, scheme, kind, amount_minor
), lines AS (
    INSERT INTO settlement_batchtotal AS l (terminal_id, batch_number, currency, method, scheme, kind, reported_count,
                                            reported_minor, recorded_count, recorded_minor)
    SELECT terminal_id, batch_number, currency, method, scheme, kind, 0, 0, count(*), sum(amount_minor)
      FROM fresh GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (terminal_id, batch_number, currency, method, scheme, kind) DO UPDATE
       SET recorded_count = l.recorded_count + excluded.recorded_count,
           recorded_minor = l.recorded_minor + excluded.recorded_minor
), numbers AS (
    INSERT INTO settlement_batchsequence AS n (terminal_id, batch_number, numbered_count, last_sequence, gap_since, times_asked)
    SELECT terminal_id, batch_number, count(*), max(sequence), CASE WHEN max(sequence) > count(*) THEN now() END, 0
      FROM fresh WHERE sequence > 0 GROUP BY 1, 2
    ON CONFLICT (terminal_id, batch_number) DO UPDATE
       SET numbered_count = n.numbered_count + excluded.numbered_count,
           last_sequence = greatest(n.last_sequence, excluded.last_sequence),
           gap_since = CASE WHEN greatest(n.last_sequence, excluded.last_sequence) > n.numbered_count + excluded.numbered_count
                            THEN coalesce(n.gap_since, now()) END
)
INSERT INTO settlement_batch AS b (terminal_id, batch_number, currency, net_minor, transaction_count, closed)
SELECT terminal_id, batch_number, currency,
       sum(CASE kind WHEN 'sale' THEN amount_minor WHEN 'declined' THEN 0 ELSE -amount_minor END),
       count(*) FILTER (WHERE kind <> 'declined'), false
  FROM fresh GROUP BY terminal_id, batch_number, currency
ON CONFLICT (terminal_id, batch_number, currency) DO UPDATE
   SET net_minor = b.net_minor + excluded.net_minor, transaction_count = b.transaction_count + excluded.transaction_count
RETURNING terminal_id, batch_number,
          EXISTS (SELECT 1 FROM settlement_batch c  -- it came late: its batch is settled, be it in another currency
                   WHERE c.terminal_id = b.terminal_id AND c.batch_number = b.batch_number AND c.closed)
"""


def record_transactions(uploads: Sequence[Upload]) -> Recorded:
    """Record transactions and add them to their batches; what came before changes nothing. One statement."""
    rows = [
        {
            "terminal_id": upload.terminal_id,
            "batch_number": upload.body.batch_number,
            "received_at": upload.received_at,
            "records": upload.body.records,
        }
        for upload in uploads
    ]
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [msgspec.json.encode(rows).decode()])
        touched: list[tuple[int, int, bool]] = cursor.fetchall()
    late = {(terminal_id, number) for terminal_id, number, closed in touched if closed}
    return Recorded({terminal_id for terminal_id, _, _ in touched}, late)
